//! The shared stores, each on its real server, and the transactions that they share with an application.

mod contract;
mod firestore;
mod frozen;
mod postgres;
mod proxy;
mod redis;
mod service;
mod transactional;

use std::time::Duration;

/// The result of a wait that a mistake would make endless; the text says for what it is.
async fn within_a_minute<T>(what: &str, wait: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(Duration::from_secs(60), wait).await;
    ended.unwrap_or_else(|_| panic!("a minute has passed without: {what}"))
}
