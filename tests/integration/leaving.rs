//! Clients that disconnect, timeouts that fire, servers that stop: the run goes on.

use std::time::Duration;

use idempotency::store::Phase;
use reqwest::Client;
use tests::reply::Reply;
use tokio::io::AsyncWriteExt;

use crate::test_server::{BOOKING, TestServer};

pub(crate) fn stop_request(key: &str) -> String {
    format!(
        "POST /stop HTTP/1.1\r\nhost: test\r\nidempotency-key: {key}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{BOOKING}",
        BOOKING.len(),
    )
}

/// What a client gets on retry after it disconnected while its request ran.
async fn comes_back(server: &TestServer, key: &str) {
    let duplicate = Reply::to(server.post("/stop", key, BOOKING)).await;
    duplicate.assert_problem("idempotency_in_progress");
    server.probe.proceed();
    let again = Reply::to(
        server
            .post("/stop", key, BOOKING)
            .header("prefer", "wait=60"),
    )
    .await;
    assert!(again.is_replay(), "{again:?}");
    assert_eq!(again.status(), "201 Created");
    assert_eq!(server.probe.runs(), 1);
}

// proves: run-survives-client-leaving, client-leaves-response-lost
#[tokio::test]
async fn a_client_that_closes_its_connection_gets_its_response_later() {
    let server = TestServer::new().await;
    let mut connection = server.connect().await;
    connection
        .write_all(stop_request("k").as_bytes())
        .await
        .expect("the server reads");
    server.probe.started().await;
    drop(connection);
    comes_back(&server, "k").await;
}

// proves: run-survives-client-leaving
#[tokio::test]
async fn a_client_that_closes_its_half_gets_its_response_later() {
    let server = TestServer::new().await;
    let mut connection = server.connect().await;
    connection
        .write_all(stop_request("k").as_bytes())
        .await
        .expect("the server reads");
    server.probe.started().await;
    connection.shutdown().await.expect("a half-open connection");
    comes_back(&server, "k").await;
}

// proves: run-survives-client-leaving
#[tokio::test]
async fn a_client_that_resets_its_stream_gets_its_response_later() {
    let server = TestServer::new().await;
    let http2 = Client::builder()
        .http2_prior_knowledge()
        .build()
        .expect("a client");
    let request = http2
        .post(format!("http://{}/stop", server.address))
        .header("idempotency-key", "k")
        .header("content-type", "application/json")
        .body(BOOKING);
    let running = server.send(request);
    server.probe.started().await;
    running.abort();
    assert!(running.await.is_err());
    comes_back(&server, "k").await;
}

// proves: run-survives-outer-timeout
#[tokio::test]
async fn an_outer_timeout_does_not_stop_the_run() {
    let timeout = tower_http::timeout::TimeoutLayer::with_status_code(
        http::StatusCode::GATEWAY_TIMEOUT,
        Duration::from_secs(2),
    );
    let server = TestServer::wrapped(|app| app.layer(timeout)).await;
    let response = Reply::to(server.post("/stop", "k", BOOKING)).await;
    response.assert_fresh(504);
    server.probe.started().await;
    server.probe.proceed();
    server.faults.complete.called(1).await;
    let again = Reply::to(server.post("/stop", "k", BOOKING)).await;
    assert!(again.is_replay(), "{again:?}");
    assert_eq!(server.probe.runs(), 1);
}

// proves: shutdown-waits-for-runs
#[tokio::test]
async fn a_shutdown_waits_for_runs_and_takes_no_new_keys() {
    let server = TestServer::new().await;
    let running = server.send(server.post("/stop", "k", BOOKING));
    server.probe.started().await;
    let waiting = server.send(
        server
            .post("/stop", "k", BOOKING)
            .header("prefer", "wait=60"),
    );
    server.faults.claim.called(3).await;

    let idempotency = server.idempotency.clone();
    let shutdown = tokio::spawn(async move { idempotency.shutdown().await });
    // The waiting duplicate is woken first.
    let refused = waiting.await.expect("a response");
    refused.assert_problem("idempotency_shutting_down");
    let claims = server.faults.claim.calls();
    let refused = Reply::to(server.booking("new")).await;
    refused.assert_problem("idempotency_shutting_down");
    assert_eq!(server.faults.claim.calls(), claims);
    assert!(!shutdown.is_finished());

    server.probe.proceed();
    running.await.expect("a response").assert_fresh(201);
    shutdown.await.expect("a shutdown");
    let records = server.list().await;
    assert!(matches!(records[..], [ref record] if matches!(record.phase, Phase::Completed { .. })));
}
// proves: run-survives-client-leaving, own-claim-unrecognised
#[tokio::test]
async fn a_claim_whose_client_left_is_withdrawn() {
    let server = TestServer::new().await;
    server.faults.claim.stop_replies(1);
    let mut connection = server.connect().await;
    connection
        .write_all(stop_request("k").as_bytes())
        .await
        .expect("the server reads");
    server.faults.claim.stopped().await;
    drop(connection);
    let again = server.send(
        server
            .post("/stop", "k", BOOKING)
            .header("prefer", "wait=60"),
    );
    server.faults.claim.called(3).await;
    server.faults.claim.open();
    server.probe.started().await;
    server.probe.proceed();
    again.await.expect("a response").assert_fresh(201);
    assert_eq!(server.probe.runs(), 1);
}
