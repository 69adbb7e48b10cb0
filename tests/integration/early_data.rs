//! Early data of TLS, which an attacker can send again (RFC 8470).

use idempotency::HttpConfig;
use reqwest::{Method, RequestBuilder};
use tests::reply::Reply;

use crate::test_server::{BOOKING, TestServer};

fn early(server: &TestServer, method: Method, path: &str) -> RequestBuilder {
    server
        .request(method, path)
        .header("early-data", "1")
        .header("content-type", "application/json")
        .body(BOOKING)
}

// proves: early-data-needs-key
#[tokio::test]
async fn early_data_without_a_key_is_refused_where_the_service_asks_for_it() {
    let server = TestServer::speaking(HttpConfig::new().without_keyless_early_data()).await;
    for path in [
        "/bookings",
        "/layered/bookings",
        // Its key would be in the body.
        "/keys/orders/optional",
    ] {
        let refused = Reply::to(early(&server, Method::POST, path)).await;
        refused.assert_problem("idempotency_early_data");
        assert_eq!(refused.header("retry-after"), Some("1"));
    }
    // Another value, or several of them, say the same as `1`.
    let bare = || {
        server
            .request(Method::POST, "/bookings")
            .header("content-type", "application/json")
            .body(BOOKING)
    };
    for request in [
        bare().header("early-data", "0"),
        bare().header("early-data", ""),
        early(&server, Method::POST, "/bookings").header("early-data", "1"),
    ] {
        let refused = Reply::to(request).await;
        refused.assert_problem("idempotency_early_data");
    }
    // This one would be refused after the handshake, too.
    let missing = Reply::to(early(&server, Method::POST, "/required")).await;
    missing.assert_problem("idempotency_key_missing");
    assert_eq!((server.probe.runs(), server.faults.claim.calls()), (0, 0));

    // As the client sends it after the handshake.
    Reply::to(bare()).await.assert_fresh(201);
    assert_eq!(server.faults.claim.calls(), 0);
}

// proves: early-data-needs-key
#[tokio::test]
async fn early_data_with_a_key_runs_once_however_often_it_is_sent() {
    let server = TestServer::speaking(HttpConfig::new().without_keyless_early_data()).await;
    let booking = || server.booking("k").header("early-data", "1");
    let first = Reply::to(booking()).await;
    first.assert_fresh(201);
    for _ in 0..3 {
        Reply::to(booking()).await.assert_replays(&first);
    }
    assert_eq!(server.probe.runs(), 1);
}

// proves: early-data-needs-key
#[tokio::test]
async fn early_data_that_no_key_would_protect_goes_on() {
    let server = TestServer::speaking(HttpConfig::new().without_keyless_early_data()).await;
    for (method, path) in [
        (Method::GET, "/unprotected"),
        (Method::POST, "/unprotected"),
        // A layer protects the methods that are not idempotent.
        (Method::PUT, "/layered/bookings"),
    ] {
        let response = Reply::to(early(&server, method, path)).await;
        assert_eq!(response.status(), "201 Created", "{path}");
    }
    // Nobody asked for it here.
    let server = TestServer::new().await;
    let response = Reply::to(early(&server, Method::POST, "/bookings")).await;
    response.assert_fresh(201);
}
