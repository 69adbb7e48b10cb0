//! The client, against a service that follows a script.

mod expiry;
mod giving_up;
mod intents;
mod outcomes;
mod pauses;
mod redirects;
mod repetition;
mod requests;
mod script;

use std::time::Duration;

use idempotency::client::RetryingClient;
use rustls::crypto::ring;

/// The feature `firestore` brings a TLS into reqwest that has no cryptography of its own.
fn http() -> reqwest::ClientBuilder {
    drop(ring::default_provider().install_default());
    reqwest::Client::builder().no_proxy()
}

/// A client without pauses, which does not give up before the test does.
fn client() -> RetryingClient {
    RetryingClient::new(http())
        .expect("a client")
        .with_max_attempts(50)
        .with_backoff(Duration::ZERO, Duration::ZERO)
}
