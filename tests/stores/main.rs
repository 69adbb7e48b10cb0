//! The shared stores, each on its real server, and the transactions that they share with an application.

mod commands;
mod dark;
mod earlier;
mod firestore;
mod holds;
mod labels;
mod paused_time;
mod postgres;
mod processes;
mod redis;
mod rotation;
mod secret;
mod service;
mod subjects;
mod together;
mod transactional;
mod verified;
mod waking;
mod wrapped;
mod wrapper;

use rustls::crypto::ring;
use tests::{proxy, wait::within_a_minute};

use holds::{claim, won};

/// What an application with TLS does at its start. It fails if another test has already done it.
fn install_crypto_provider() {
    drop(ring::default_provider().install_default());
}
