//! Bookings in Redis, each under its id.

use redis::{Client, aio::MultiplexedConnection, cmd};

use super::{Bookings, Failure};
use crate::service::Booking;

impl Bookings {
    pub(crate) async fn in_redis(url: &str) -> Self {
        let client = Client::open(url).expect("a URL of Redis");
        let connection = client.get_multiplexed_async_connection().await;
        Self::Redis(connection.expect("a connection"))
    }
}

pub(super) async fn insert(
    mut connection: MultiplexedConnection,
    booking: Booking,
) -> Result<(), Failure> {
    let text = serde_json::to_vec(&booking)?;
    let set = cmd("SET")
        .arg(format!("booking:{}", booking.id))
        .arg(text)
        .to_owned();
    Ok(set.exec_async(&mut connection).await?)
}
