//! Callers without a scope and without credentials, who share one space of keys.

use idempotency::{HttpConfig, Scope};
use reqwest::RequestBuilder;
use tests::reply::Reply;

use crate::test_server::{BOOKING, TestServer};

/// One character shorter than is asked for, and long enough.
const SHORT: &str = "k-3f9a0c71be5d48";
const LONG: &str = "k-3f9a0c71be5d482";

fn http() -> HttpConfig {
    HttpConfig::new().with_min_anonymous_key_length(LONG.len())
}

async fn assert_too_short(request: RequestBuilder) {
    let refused = Reply::to(request).await;
    refused.assert_problem("idempotency_key_too_short");
    let problem = refused.json();
    let detail = problem["detail"].as_str().expect("a detail");
    assert!(detail.contains("at least 17 characters"), "{detail}");
    assert!(!refused.text().contains(SHORT), "{detail}");
}

// proves: anonymous-space-guarded
#[tokio::test]
async fn a_short_key_of_an_anonymous_caller_is_refused() {
    let server = TestServer::speaking(http()).await;
    assert_too_short(server.booking(SHORT)).await;
    // The quotes are not a part of the key.
    assert_too_short(server.booking(&format!("\"{SHORT}\""))).await;
    assert_too_short(server.post("/required", SHORT, BOOKING)).await;
    assert_too_short(server.post("/layered/bookings", SHORT, BOOKING)).await;
    // Cookies do not identify a caller.
    assert_too_short(server.booking(SHORT).header("cookie", "a=b")).await;
    // Neither does what a broken client sends in place of a credential.
    assert_too_short(server.booking(SHORT).header("x-api-key", "undefined")).await;
    let in_the_body = format!(r#"{{"order":{{"number":"{SHORT}"}}}}"#);
    assert_too_short(server.post("/keys/orders", "ignored", &in_the_body)).await;
    assert_eq!((server.probe.runs(), server.faults.claim.calls()), (0, 0));

    let first = Reply::to(server.booking(LONG)).await;
    first.assert_fresh(201);
    Reply::to(server.booking(LONG)).await.assert_replays(&first);
}

// proves: anonymous-space-guarded, key-refused-from-headers
#[tokio::test]
async fn a_short_key_of_an_anonymous_caller_is_refused_before_its_body_is_sent() {
    let server = TestServer::speaking(http()).await;
    let head = format!(
        "POST /bookings HTTP/1.1\r\nhost: test\r\nidempotency-key: {SHORT}\r\nexpect: 100-continue\r\ncontent-length: 1000\r\n\r\n"
    );
    let response = server.raw(head).await;
    assert!(
        response.starts_with("HTTP/1.1 400 Bad Request"),
        "{response}"
    );
}

// proves: anonymous-space-guarded
#[tokio::test]
async fn a_caller_that_is_known_uses_short_keys() {
    let server = TestServer::speaking(http().with_session_cookie("session")).await;
    for request in [
        server.booking("k").header("authorization", "Bearer a"),
        server.booking("k").header("x-api-key", "a"),
        server.booking("k").header("cookie", "session=a"),
        server
            .post("/tenants", "k", BOOKING)
            .header("x-tenant", "a"),
        server
            .post("/accounts/bookings", "k", BOOKING)
            .header("authorization", "Bearer ann-1"),
    ] {
        Reply::to(request).await.assert_fresh(201);
    }
    // A function of the service may find that a caller is nobody in particular.
    let server = TestServer::configured(|builder| {
        builder
            .with_http(http())
            .with_scope(|_| Ok(Scope::anonymous()))
    })
    .await;
    assert_too_short(server.booking(SHORT).header("authorization", "Bearer a")).await;
    Reply::to(server.booking(LONG)).await.assert_fresh(201);
}

#[test]
#[should_panic(expected = "at most 255 characters")]
fn no_service_asks_for_a_key_that_is_longer_than_keys_are() {
    let _ = HttpConfig::new().with_min_anonymous_key_length(256);
}
