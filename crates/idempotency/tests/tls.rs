//! The errors of stores in an application that has not installed a rustls provider. No test of this program installs one.

use std::{
    env,
    process::{self, Command},
};

use idempotency::{
    FirestoreStore, RedisStore,
    store::{FirestoreStoreError, RedisStoreError},
};
use rustls::crypto::CryptoProvider;

const EMULATOR: &str = "FIRESTORE_EMULATOR_HOST";

#[tokio::test]
async fn redis_by_tls_without_a_crypto_provider_is_an_error_that_says_what_to_do() {
    for url in [
        "rediss://127.0.0.1:1",
        "rediss://127.0.0.1:1/#insecure",
        "valkeys://127.0.0.1:1",
        " REDISS://127.0.0.1:1",
    ] {
        for refused in [
            RedisStore::connect(url).await,
            RedisStore::cluster([url]).await,
            RedisStore::cluster(["redis://127.0.0.1:1", url]).await,
        ] {
            let error = refused.expect_err("no provider");
            assert!(
                matches!(error, RedisStoreError::CryptoProviderMissing),
                "{url}: {error:?}"
            );
            says_what_to_do(&error.to_string());
        }
    }
    assert!(CryptoProvider::get_default().is_none());
}

#[tokio::test]
async fn firestore_without_a_crypto_provider_is_an_error_that_says_what_to_do() {
    const NAME: &str = "firestore_without_a_crypto_provider_is_an_error_that_says_what_to_do";
    if env::var_os(EMULATOR).is_some() {
        // The environment of a process cannot be changed safely from within.
        let program = env::current_exe().expect("this program");
        let mut again = Command::new(program);
        let output = again.args(["--exact", NAME]).env_remove(EMULATOR).output();
        assert_passed(&output.expect("a process"));
        return;
    }
    let refused = FirestoreStore::connect("my-project").await;
    let error = refused.expect_err("no provider");
    assert!(
        matches!(error, FirestoreStoreError::CryptoProviderMissing),
        "{error:?}"
    );
    says_what_to_do(&error.to_string());
    assert!(CryptoProvider::get_default().is_none());
}

#[tokio::test]
async fn without_tls_no_crypto_provider_is_needed() {
    let refused = RedisStore::connect("redis://127.0.0.1:1").await;
    assert!(
        matches!(refused, Err(RedisStoreError::Connect(_))),
        "{refused:?}"
    );
    let refused = FirestoreStore::connect_to_emulator("demo-project", "127.0.0.1:1").await;
    assert!(
        matches!(refused, Err(FirestoreStoreError::Unreachable(_))),
        "{refused:?}"
    );
}

fn says_what_to_do(error: &str) {
    let what = "rustls::crypto::ring::default_provider().install_default()";
    assert!(error.contains(what), "{error}");
}

fn assert_passed(output: &process::Output) {
    assert!(output.status.success(), "{output:?}");
}
