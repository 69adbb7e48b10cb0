//! The shared stores, each on its real server, and the transactions that they share with an application.

mod dark;
mod firestore;
mod frozen;
mod labels;
mod postgres;
mod redis;
mod secret;
mod service;
mod transactional;
mod wrapped;
mod wrapper;

use std::time::Duration;

use bytes::Bytes;
use idempotency::{
    Fingerprint, OnLost, Store, StoreError,
    store::{Claim, ClaimRequest, Hold},
};
use rustls::crypto::ring;
use tests::proxy;

/// What an application with TLS does at its start. It fails where another test has done it.
fn install_crypto_provider() {
    drop(ring::default_provider().install_default());
}

/// The result of a wait that a mistake would make endless; the text says for what it is.
async fn within_a_minute<T>(what: &str, wait: impl Future<Output = T>) -> T {
    let ended = tokio::time::timeout(Duration::from_secs(60), wait).await;
    ended.unwrap_or_else(|_| panic!("a minute has passed without: {what}"))
}

/// A claim that takes over what has lapsed.
async fn claim(store: &impl Store, hold: &Hold, asked: &Fingerprint) -> Result<Claim, StoreError> {
    store
        .claim(ClaimRequest::new(hold, asked, OnLost::TakeOver))
        .await
}

/// A claim that is won as this attempt, where no run before has left anything.
fn won(attempt: u32) -> Claim {
    Claim::won(attempt, Bytes::new())
}
