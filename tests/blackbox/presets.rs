//! The library's settings for other dialects, asked by the rules of these dialects.

use idempotency::{HttpConfig, Options, dialects};

use crate::{program::ask, start};

// proves: stripe-dialect-kept
#[tokio::test]
async fn stripe_as_its_clients_know_it() {
    let service = start(dialects::stripe(), dialects::STRIPE, 1).await;
    ask(service, "stripe").await.assert_failed([]);
}

// proves: agentic-commerce-dialect-kept
#[tokio::test]
async fn agentic_commerce_but_for_what_is_left_to_the_application() {
    let service = start(dialects::agentic_commerce(), dialects::AGENTIC_COMMERCE, 1).await;
    let verdicts = ask(service, "acp").await;
    verdicts.assert_failed(["key-echoed", "paths-have-their-own-keys"]);
}

// proves: universal-commerce-dialect-kept
#[tokio::test]
async fn universal_commerce() {
    let service = start(
        dialects::universal_commerce(),
        dialects::UNIVERSAL_COMMERCE,
        1,
    )
    .await;
    ask(service, "ucp").await.assert_failed([]);
}

// proves: iceberg-dialect-kept
#[tokio::test]
async fn iceberg_without_settings() {
    let service = start(HttpConfig::new(), Options::new(), 1).await;
    let verdicts = ask(service, "iceberg").await;
    assert!(verdicts.rules("failed").is_empty(), "{verdicts:#?}");
    // The catalog's configuration is the application's.
    assert_eq!(verdicts.rules("not-tried"), ["support-advertised"].into());
    assert_eq!(verdicts.exit_code, 0);
}
