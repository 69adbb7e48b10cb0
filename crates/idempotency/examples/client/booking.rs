//! The client: a program that books once for an order, however often it or the service dies.

use std::{error::Error, time::Duration};

use idempotency::{
    client::{IntentFolder, RetryingClient},
    reqwest,
};
use serde_json::{Value, json};

pub(crate) async fn book(url: &str, intents: &str, order: &str) -> Result<(), Box<dyn Error>> {
    let client = RetryingClient::new(reqwest::Client::builder())?
        .with_deadline(Duration::from_secs(120))
        // As long as core-api remembers a key.
        .with_ttl(Duration::from_secs(24 * 3600))
        .with_max_attempts(50)
        .with_backoff(Duration::from_millis(200), Duration::from_secs(2));
    let intents = IntentFolder::open(intents).await?;

    // If an earlier process has sent this booking, its key is there.
    let intent = intents.intent(order);
    let booking = json!({
        "service_id": "room-12",
        "customer_name": order,
        "date": "2030-08-07",
        "time": "10:00",
    });
    let request = client
        .post(format!("{url}/bookings"))
        // Leaves `main.rs` time to kill the service or this client. Real requests have nothing like it.
        .header("X-Fault-Delay-Ms", "1000")
        .json(&booking);
    let response = client.send(&intent, request).await?;
    let booking: Value = response.json()?;
    if !response.status().is_success() {
        return Err(format!("{}: {booking}", response.status()).into());
    }

    // Here a program stores the booking, and finishes the intent only afterwards.
    println!("booked: {}", booking["id"]);
    intent.finish().await?;
    Ok(())
}
