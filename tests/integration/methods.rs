//! Which methods and endpoints a key protects.

use reqwest::Method;
use tests::reply::Reply;

use crate::test_server::{BOOKING, TestServer};

// proves: safe-methods-ignore-keys, preflight-never-refused, query-treated-like-get
#[tokio::test]
async fn safe_methods_ignore_even_a_malformed_key() {
    let server = TestServer::new().await;
    let methods = [
        Method::GET,
        Method::HEAD,
        Method::OPTIONS,
        Method::TRACE,
        Method::from_bytes(b"QUERY").expect("a method"),
    ];
    for (path, status) in [
        ("/bookings", 201),
        ("/unprotected", 201),
        ("/layered/bookings", 405),
    ] {
        for method in &methods {
            let request = server
                .request(method.clone(), path)
                .header("idempotency-key", "\"broken");
            let response = Reply::to(
                request
                    .header("content-type", "application/json")
                    .body(BOOKING),
            )
            .await;
            response.assert_fresh(status);
            assert_eq!(response.header("idempotency-expires"), None);
        }
    }
    assert_eq!((server.probe.runs(), server.faults.claim.calls()), (10, 0));
}

// proves: post-and-patch-protected, put-delete-by-attribute
#[tokio::test]
async fn the_attribute_protects_every_method_that_is_not_safe() {
    for method in [Method::POST, Method::PATCH, Method::PUT, Method::DELETE] {
        let server = TestServer::new().await;
        let request = || {
            server
                .request(method.clone(), "/bookings/7")
                .header("idempotency-key", "k")
        };
        let first = Reply::to(request()).await;
        first.assert_fresh(204);
        // Without the key the second request would not find the booking.
        Reply::to(request()).await.assert_replays(&first);
        assert_eq!(server.probe.runs(), 1, "{method}");
    }
}

// proves: post-and-patch-protected, put-delete-by-attribute
#[tokio::test]
async fn a_layer_protects_post_but_not_put() {
    let server = TestServer::new().await;
    let request = |method| {
        server
            .request(method, "/layered/bookings")
            .header("idempotency-key", "k")
            .body("x")
    };
    let first = Reply::to(request(Method::POST)).await;
    first.assert_fresh(201);
    Reply::to(request(Method::POST))
        .await
        .assert_replays(&first);
    assert_eq!(server.probe.runs(), 1);
    Reply::to(request(Method::PUT)).await.assert_fresh(201);
    Reply::to(request(Method::PUT)).await.assert_fresh(201);
    assert_eq!(server.probe.runs(), 3);
}

// proves: router-refusals-unchanged, no-endpoint-no-record
#[tokio::test]
async fn what_has_no_endpoint_leaves_no_record() {
    let server = TestServer::new().await;
    for (method, path, status) in [
        (Method::HEAD, "/posted", 405),
        (Method::POST, "/nowhere", 404),
        (Method::DELETE, "/layered/bookings", 405),
        (Method::PATCH, "/layered/bookings", 405),
        (Method::POST, "/layered/nowhere", 404),
    ] {
        for _ in 0..2 {
            let request = server
                .request(method.clone(), path)
                .header("idempotency-key", "k");
            let response = Reply::to(request).await;
            response.assert_fresh(status);
            assert_eq!(
                response.header("allow").is_some(),
                response.status() == "405 Method Not Allowed",
                "{path}"
            );
        }
    }
    assert_eq!((server.probe.runs(), server.records().await), (0, 0));
}

// proves: unprotected-endpoint-ignores-key
#[tokio::test]
async fn a_key_on_an_unprotected_endpoint_is_ignored() {
    let server = TestServer::new().await;
    for run in 1..=2 {
        let response = Reply::to(server.post("/unprotected", "k", BOOKING)).await;
        response.assert_fresh(201);
        assert_eq!(response.json()["run"], run);
    }
}

// proves: batch-is-one-unit
#[tokio::test]
async fn a_key_covers_a_batch_as_one_unit() {
    let server = TestServer::new().await;
    let batch = format!("[{BOOKING},{BOOKING}]");
    let first = Reply::to(server.post("/bookings", "k", &batch)).await;
    first.assert_fresh(201);
    Reply::to(server.post("/bookings", "k", &batch))
        .await
        .assert_replays(&first);
    let part = Reply::to(server.post("/bookings", "k", &format!("[{BOOKING}]"))).await;
    part.assert_problem("idempotency_key_reused");
}

// proves: second-protection-ignored
#[tokio::test]
async fn protection_twice_is_a_mistake_and_nothing_runs() {
    let server = TestServer::new().await;
    let response = Reply::to(server.post("/layered/twice", "k", BOOKING)).await;
    response.assert_problem("idempotency_misconfigured");
    assert_eq!((server.probe.runs(), server.records().await), (0, 0));
}
