//! The shared stores, each on its real server, and the transactions that they share with an application.

mod dark;
mod firestore;
mod labels;
mod paused_time;
mod postgres;
mod processes;
mod redis;
mod secret;
mod service;
mod transactional;
mod wrapped;
mod wrapper;

use bytes::Bytes;
use idempotency::{Claim, ClaimRequest, Fingerprint, Hold, OnLost, Store, StoreError};
use rustls::crypto::ring;
use tests::{proxy, wait::within_a_minute};

/// What an application with TLS does at its start. It fails where another test has done it.
fn install_crypto_provider() {
    drop(ring::default_provider().install_default());
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
