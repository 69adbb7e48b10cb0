//! A booking that charges a payment provider, killed in the middle and resumed: charged once, booked once.
//!
//! `cargo run --example payment -p idempotency --features sqlite`
//!
//! `bookings.rs` is the part to copy: a handler with a step, a child key and a commit. The rest lets it die and tells
//! the story: this process is the client and the payment provider (`provider.rs`), and the booking service is a child
//! process (`service.rs`), which aborts where `crash.rs` says.

mod bookings;
mod crash;
mod provider;
mod service;

use std::{env, error::Error, path::Path, time::Duration};

use crash::Crash;
use provider::Ledger;
use reqwest::{StatusCode, header::RETRY_AFTER};
use serde_json::{Value, json};
use service::Service;
use tokio::{net::TcpListener, time::sleep};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    if let [file, provider] = &arguments[..] {
        return service::serve(Path::new(file), provider.clone()).await;
    }
    println!("The service dies when the charge is a step that is done:");
    tell(Crash::AfterStep).await?;
    println!("The service dies when the provider has charged, and nothing of it is kept:");
    tell(Crash::InStep).await
}

/// One booking, from a client that asks until it is told.
async fn tell(crash: Crash) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("bookings.db");
    let ledger = Ledger::default();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let provider = format!("http://{}", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, provider::app(ledger.clone())).into_future());

    let service = Service::start(&file, &provider, crash).await?;
    match send(&service).await {
        Err(error) if !error.is_timeout() => println!("  POST /bookings: no response"),
        other => return Err(format!("the service has not died: {other:?}").into()),
    }
    println!("  the service has died: {}", service.ended().await?);

    let service = Service::start(&file, &provider, Crash::Nowhere).await?;
    println!("  the service runs again");
    let booking = send_until_answered(&service).await?;

    let charges = ledger.charges();
    println!("  attempts: {}", booking["attempt"]);
    println!("  requests to the provider: {}", ledger.requests());
    println!("  charges: {}", charges.len());
    match &charges[..] {
        [charge] if booking["charge"] == charge.id => Ok(()),
        _ => Err(format!("{booking} was paid with {charges:?}").into()),
    }
}

/// The same request with the same key, until it has an answer that is final.
async fn send_until_answered(service: &Service) -> Result<Value, Box<dyn Error>> {
    for _ in 0..30 {
        let answer = send(service).await?;
        let (status, retry_after) = (answer.status(), answer.headers().get(RETRY_AFTER).cloned());
        let body: Value = answer.json().await?;
        match (status, retry_after) {
            (StatusCode::CREATED, _) => {
                println!("  POST /bookings: {status} {body}");
                return Ok(body);
            }
            // The dead run has its key until its lease is over.
            (_, Some(seconds)) => {
                let seconds = seconds.to_str()?.parse()?;
                println!(
                    "  POST /bookings: {status} {}, again in {seconds} s",
                    body["code"]
                );
                sleep(Duration::from_secs(seconds)).await;
            }
            _ => return Err(format!("{status} {body}").into()),
        }
    }
    Err("30 requests were not answered".into())
}

async fn send(service: &Service) -> reqwest::Result<reqwest::Response> {
    reqwest::Client::new()
        .post(format!("{}/bookings", service.address))
        .header("Idempotency-Key", "7e0b5145-1d2c-4f0e-9f2a-8c3d9a1b2c3d")
        .json(&json!({ "room": "12", "euros": 120 }))
        .timeout(Duration::from_secs(30))
        .send()
        .await
}
