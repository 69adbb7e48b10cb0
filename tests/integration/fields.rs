//! Header fields of a response that are never stored, and what a replay tells caches.

use idempotency::HttpConfig;
use serde_json::json;

use crate::{replays::twice, test_server::TestServer};

// proves: secrets-never-stored, exchange-fields-not-replayed, credentials-stored-in-response
#[tokio::test]
async fn tokens_nonces_and_signatures_are_neither_stored_nor_replayed() {
    let server = TestServer::new().await;
    let names = [
        "x-auth-token",
        "refresh-token",
        "x-csrf-token",
        "x-xsrf-value",
        "dpop-nonce",
        "replay-nonce",
        "x-session-id",
        "x-client-secret",
        "x-initial-password",
        "x-api-key",
        "ocp-apim-subscription-key",
        "signature",
        "signature-input",
        "x-rate-limit-remaining",
    ];
    let mut headers: Vec<_> = names.iter().map(|name| [name, "a-secret-value"]).collect();
    headers.push([
        "content-security-policy",
        "script-src 'Nonce-a-secret-value'",
    ]);
    headers.push(["content-security-policy", "default-src 'self'"]);
    let (first, again) = twice(&server, &json!({ "headers": headers })).await;
    assert_eq!(first.header("x-auth-token"), Some("a-secret-value"));
    for name in names {
        assert_eq!(again.header(name), None, "{name}");
    }
    assert_eq!(
        again.header("content-security-policy"),
        Some("default-src 'self'")
    );
    let records = server.list().await;
    assert!(!format!("{records:?}").contains("a-secret-value"));
}

// proves: unreplayed-fields-configurable
#[tokio::test]
async fn a_field_that_is_left_out_for_its_name_can_be_kept() {
    let http = HttpConfig::new().with_kept_header("x-page-token".parse().expect("a name"));
    let server = TestServer::speaking(http).await;
    let headers = json!([["x-page-token", "2"], ["x-next-token", "3"]]);
    let (_, again) = twice(&server, &json!({ "headers": headers })).await;
    assert_eq!(again.header("x-page-token"), Some("2"));
    assert_eq!(again.header("x-next-token"), None);
}

// proves: replay-keeps-headers
#[tokio::test]
async fn a_cache_does_not_take_a_replay_for_a_new_response() {
    for field in [
        ["cache-control", "max-age=3600"],
        ["expires", "Sun, 06 Nov 2044 08:49:37 GMT"],
    ] {
        let server = TestServer::new().await;
        let (first, again) = twice(&server, &json!({ "headers": [field] })).await;
        let says = |response: &tests::reply::Reply| {
            let lines = response.headers.get_all("cache-control").iter();
            lines.filter(|line| *line == "no-store").count()
        };
        assert_eq!((says(&first), says(&again)), (0, 1));
        assert_eq!(again.header(field[0]), Some(field[1]));
    }
    let server = TestServer::new().await;
    let (_, again) = twice(&server, &json!({})).await;
    assert_eq!(again.header("cache-control"), None);
}
