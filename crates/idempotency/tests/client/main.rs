//! The client, against a service that follows a script.

mod clocks;
mod expiry;
mod finished;
mod folders;
mod giving_up;
mod intents;
mod outcomes;
mod pauses;
mod redirects;
mod repetition;
mod requests;
mod script;

use std::{fs, path::PathBuf, time::Duration};

use idempotency::client::{IntentError, IntentFolder, RetryingClient};
use rustls::crypto::ring;
use tempfile::TempDir;

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

/// The folder as another process opens it, made by the first one.
async fn open(folder: &TempDir) -> IntentFolder {
    let path = folder.path().join("intents");
    match IntentFolder::open(&path).await {
        Err(IntentError::NoFolder { .. }) => {
            IntentFolder::create(&path).await.expect("a new folder")
        }
        opened => opened.expect("a folder"),
    }
}

/// The intents that are there.
fn intents(folder: &TempDir) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.path().join("intents")).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.is_dir()).collect()
}
