//! Responses that set their own ttl.

use std::time::Duration;

use axum::{
    Router,
    extract::{Query, State},
    response::{IntoResponse, Response},
    routing::post,
};
use http::StatusCode;
use idempotency::{Disposition, Execution, IdempotencyLayer, idempotent, options::Ttl};
use serde::Deserialize;
use tests::reply::Reply;

use crate::{
    app::Probe,
    expiry::assert_kept_for,
    test_server::{BOOKING, TestServer},
};

pub(crate) fn routes(idempotency: &idempotency::Idempotency) -> Router<Probe> {
    let layered = Router::new()
        .route("/ttl", post(unprotected))
        .layer(IdempotencyLayer::new(idempotency.clone()));
    Router::new()
        .route("/ttl", post(set_ttl))
        .nest("/ttl/layered", layered)
}

#[derive(Deserialize)]
struct Wanted {
    seconds: Option<f64>,
    status: Option<u16>,
    disposition: Option<String>,
}

#[idempotent(ttl_seconds = 3600)]
async fn set_ttl(
    State(probe): State<Probe>,
    Query(wanted): Query<Wanted>,
    execution: Execution,
) -> Response {
    assert!(execution.attempt() > 0);
    respond(&probe, &wanted)
}

async fn unprotected(State(probe): State<Probe>, Query(wanted): Query<Wanted>) -> Response {
    respond(&probe, &wanted)
}

fn respond(probe: &Probe, wanted: &Wanted) -> Response {
    let status = wanted.status.unwrap_or(201);
    let status = StatusCode::from_u16(status).expect("a status");
    let mut response = (status, probe.count().to_string()).into_response();
    let extensions = response.extensions_mut();
    if let Some(seconds) = wanted.seconds {
        let time = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        extensions.insert(Ttl(time));
    }
    match wanted.disposition.as_deref() {
        Some("tombstone") => _ = extensions.insert(Disposition::Tombstone),
        Some("release") => _ = extensions.insert(Disposition::Release),
        _ => {}
    }
    response
}

// proves: response-sets-own-ttl
#[tokio::test]
async fn a_response_is_replayed_for_its_own_ttl_and_says_so() {
    let server = TestServer::new().await;
    for (seconds, key) in [(3601, "little"), (7200, "much")] {
        let request = || server.post(&format!("/ttl?seconds={seconds}"), key, BOOKING);
        let before = server.time.now();
        let first = Reply::to(request()).await;
        first.assert_fresh(201);
        assert_kept_for(&first, seconds, before, server.time.now());
        server.pass_nearly(seconds);
        // With the same announced end.
        Reply::to(request()).await.assert_replays(&first);
        server.pass(120);
        Reply::to(request()).await.assert_fresh(201);
    }
}

// proves: response-sets-own-ttl, last-second-replayed
#[tokio::test]
async fn a_retry_after_the_announced_end_of_an_own_ttl_is_replayed() {
    let server = TestServer::new().await;
    let request = || server.post("/ttl?seconds=7200", "k", BOOKING);
    let first = Reply::to(request()).await;
    first.assert_fresh(201);
    server.pass(7201);
    Reply::to(request()).await.assert_replays(&first);
}

// proves: response-sets-own-ttl
#[tokio::test]
async fn a_layer_takes_the_ttl_of_a_response_too() {
    let server = TestServer::new().await;
    let before = server.time.now();
    for (path, key, seconds) in [
        ("/ttl/layered/ttl?seconds=172800", "own", 172_800),
        ("/ttl/layered/ttl", "default", 24 * 60 * 60),
    ] {
        let response = Reply::to(server.post(path, key, BOOKING)).await;
        assert_kept_for(&response, seconds, before, server.time.now());
    }
}

// proves: own-ttl-has-bounds
#[tokio::test]
async fn a_ttl_that_is_too_short_or_too_long_is_the_nearest_that_is_not() {
    const TEN_YEARS: u64 = 315_360_000;
    let server = TestServer::new().await;
    for (key, seconds, bound) in [
        ("zero", "0", 3600),
        ("shorter", "3599", 3600),
        ("split", "3601.9", 3601),
        ("endless", "1e30", TEN_YEARS),
    ] {
        let path = format!("/ttl?seconds={seconds}");
        let before = server.time.now();
        let first = Reply::to(server.post(&path, key, BOOKING)).await;
        first.assert_fresh(201);
        assert_kept_for(&first, bound, before, server.time.now());
        Reply::to(server.post(&path, key, BOOKING))
            .await
            .assert_replays(&first);
    }
}

// proves: response-sets-own-ttl
#[tokio::test]
async fn a_tombstone_has_a_ttl_and_a_response_that_is_not_stored_has_none() {
    let server = TestServer::new().await;
    let tombstone = || server.post("/ttl?seconds=7200&disposition=tombstone", "secret", BOOKING);
    let before = server.time.now();
    let first = Reply::to(tombstone()).await;
    first.assert_fresh(201);
    assert_kept_for(&first, 7200, before, server.time.now());
    Reply::to(tombstone())
        .await
        .assert_problem("idempotency_response_not_stored");
    server.pass(7261);
    Reply::to(tombstone()).await.assert_fresh(201);

    for path in [
        "/ttl?seconds=60&status=500",
        "/ttl?seconds=60&disposition=release",
    ] {
        let response = Reply::to(server.post(path, "released", BOOKING)).await;
        assert_eq!(response.header("idempotency-expires"), None, "{response:?}");
    }
    assert_eq!(server.records().await, 1);
}
