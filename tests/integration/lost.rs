//! Runs whose owner is lost, of handlers that must not run again before an operator has resolved the key.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use http::{StatusCode, header};
use idempotency::{
    IdempotencyKey, Scope, idempotent,
    store::{IfOwner, Record, Resolution},
};
use rstest_reuse::apply;
use serde_json::{Value, json};
use tests::reply::Reply;

use crate::{
    app::Probe,
    backend::{Backend, each_store, installed},
    test_server::{BOOKING, TestServer},
};

pub(crate) fn routes() -> Router<Probe> {
    Router::new()
        .route("/lost", post(transfer))
        .route("/lost/wait", post(transfer_with_waiters))
        .route("/lost/stop", post(stop_midway))
}

#[idempotent(ttl_seconds = 3600, on_lost = "refuse")]
async fn transfer(State(probe): State<Probe>) -> (StatusCode, Json<Value>) {
    (StatusCode::CREATED, Json(json!({ "run": probe.count() })))
}

#[idempotent(ttl_seconds = 3600, on_lost = "refuse", on_duplicate = "wait")]
async fn transfer_with_waiters(State(probe): State<Probe>) -> (StatusCode, Json<Value>) {
    (StatusCode::CREATED, Json(json!({ "run": probe.count() })))
}

#[idempotent(ttl_seconds = 3600, on_lost = "refuse")]
async fn stop_midway(State(probe): State<Probe>) -> (StatusCode, Json<Value>) {
    let run = probe.count();
    probe.stop(run).await;
    (StatusCode::CREATED, Json(json!({ "run": run })))
}

// proves: dead-owner-taken-over, mismatch-takes-over, interrupted-run-stuck
#[tokio::test]
async fn a_run_that_was_lost_is_not_made_again() {
    let server = TestServer::new().await;
    let request = || server.post("/lost", "k", BOOKING);
    server.abandon("/lost", "k", BOOKING).await;
    let rest = server.pass_nearly(30);
    Reply::to(request())
        .await
        .assert_problem("idempotency_in_progress");
    server.time.pass(rest);
    for _ in 0..2 {
        let refused = Reply::to(request()).await;
        assert_unknown(&refused);
        let detail = refused.json()["detail"].to_string();
        assert!(detail.contains("not known whether"), "{detail}");
        assert!(detail.contains("operator"), "{detail}");
        // A different request under the key gets 422, which says nothing of the unknown outcome.
        let other = Reply::to(server.post("/lost", "k", "{}")).await;
        other.assert_problem("idempotency_key_reused");
    }
    assert_eq!(server.probe.runs(), 0);
}

// proves: duplicate-may-wait, dead-owner-taken-over, interrupted-run-stuck
#[apply(each_store)]
#[tokio::test]
async fn a_duplicate_that_waits_for_a_run_learns_that_it_was_lost(backend: Backend) {
    let server = installed!(TestServer::on(backend).await);
    server.abandon("/lost/wait", "k", BOOKING).await;
    let before = server.faults.claim.calls();
    let waiting = server.send(server.post("/lost/wait", "k", BOOKING));
    // Once it listens, it has read the record a second time.
    server.faults.claim.called(before + 2).await;
    server.pass(30);
    assert_unknown(&waiting.await.expect("a response"));
    assert_eq!(server.probe.runs(), 0);
}

// proves: dead-owner-taken-over, lost-lease-stores-nothing, live-owner-replaced
// proves: interrupted-run-stuck
#[tokio::test]
async fn an_owner_that_recovers_stores_its_response() {
    let server = TestServer::new().await;
    let request = || server.post("/lost/stop", "k", BOOKING);
    let slow = server.send(request());
    server.probe.started().await;
    // As if the process had been paused: time passes, and the lease is not renewed.
    server.faults.renew.lose_requests(usize::MAX);
    server.pass(30);
    assert_unknown(&Reply::to(request()).await);
    server.probe.proceed();
    let slow = slow.await.expect("a response");
    slow.assert_fresh(201);
    Reply::to(request()).await.assert_replays(&slow);
    assert_eq!(server.probe.runs(), 1);
}

// proves: dead-owner-taken-over, interrupted-run-stuck
#[tokio::test]
async fn a_retry_runs_once_an_operator_has_freed_the_key() {
    let server = TestServer::new().await;
    let request = || server.post("/lost", "k", BOOKING);
    let seen = lost(&server).await;
    let freed = server.idempotency.resolve(&seen, Resolution::Release);
    assert_eq!(freed.await.expect("a reply"), IfOwner::Done(()));
    let first = Reply::to(request()).await;
    first.assert_fresh(201);
    assert_eq!(first.json()["run"], 1);

    // The hold that the operator saw is gone, and the record that replaced it is complete.
    for resolution in [Resolution::Release, booked(&server).await] {
        let late = server.idempotency.resolve(&seen, resolution).await;
        assert_eq!(late.expect("a response"), IfOwner::NotOwner);
    }
    Reply::to(request()).await.assert_replays(&first);
    assert_eq!(server.probe.runs(), 1);
}

// proves: dead-owner-taken-over, interrupted-run-stuck
#[tokio::test]
async fn a_retry_gets_the_response_that_an_operator_has_stored() {
    let server = TestServer::new().await;
    let seen = lost(&server).await;
    let given = server
        .idempotency
        .resolve(&seen, booked(&server).await)
        .await
        .expect("a response");
    assert_eq!(given, IfOwner::Done(()));
    for _ in 0..2 {
        let reply = Reply::to(server.post("/lost", "k", BOOKING)).await;
        assert!(reply.is_replay(), "{reply:?}");
        assert_eq!(reply.status(), "201 Created");
        assert_eq!(reply.header("location"), Some("/bookings/7"));
        assert_eq!(reply.header("set-cookie"), None, "it is a secret");
        assert!(reply.header("idempotency-expires").is_some());
        assert_eq!(reply.text(), "booked by hand");
    }
    server.pass(66);
    Reply::to(server.post("/lost", "k", BOOKING))
        .await
        .assert_fresh(201);
    assert_eq!(server.probe.runs(), 1);
}

// proves: oversized-response-leaves-tombstone, dead-owner-taken-over, large-response-unprotected
#[tokio::test]
async fn an_operators_response_that_is_too_long_leaves_a_tombstone() {
    let server = TestServer::new().await;
    let seen = lost(&server).await;
    let location = [(header::LOCATION, "/bookings/7")];
    let long = (location, "x".repeat(1024 * 1024 + 1)).into_response();
    let resolution = complete(&server, long).await;
    let given = server.idempotency.resolve(&seen, resolution).await;
    assert_eq!(given.expect("a response"), IfOwner::Done(()));
    let reply = Reply::to(server.post("/lost", "k", BOOKING)).await;
    reply.assert_problem("idempotency_response_not_stored");
    assert_eq!(reply.header("location"), Some("/bookings/7"));
    assert_eq!(server.probe.runs(), 0);
}

// proves: expired-key-is-new, dead-owner-taken-over, interrupted-run-stuck
#[tokio::test]
async fn an_unresolved_key_is_forgotten_a_ttl_after_its_lease() {
    let server = TestServer::new().await;
    lost(&server).await;
    let rest = server.pass_nearly(3600);
    assert_unknown(&Reply::to(server.post("/lost", "k", BOOKING)).await);
    server.time.pass(rest);
    // The key is new, for any request.
    let reply = Reply::to(server.post("/lost", "k", "{}")).await;
    reply.assert_fresh(201);
    assert_eq!(server.probe.runs(), 1);
}

/// A lost run of `/lost`, as the operator finds it.
async fn lost(server: &TestServer) -> Record {
    server.abandon("/lost", "k", BOOKING).await;
    server.pass(30);
    assert_unknown(&Reply::to(server.post("/lost", "k", BOOKING)).await);
    let key = IdempotencyKey::new("k").expect("a key");
    let id = server.idempotency.record_id(&Scope::anonymous(), &key);
    let seen = server.idempotency.store().inspect(&id).await;
    seen.expect("a reply").expect("the record")
}

/// An operator's response, kept for a minute, with a header field that must not be stored.
async fn booked(server: &TestServer) -> Resolution {
    let headers = [
        (header::LOCATION, "/bookings/7"),
        (header::SET_COOKIE, "session=secret"),
    ];
    let reply = (StatusCode::CREATED, headers, "booked by hand").into_response();
    complete(server, reply).await
}

async fn complete(server: &TestServer, reply: Response) -> Resolution {
    let outcome = server.idempotency.outcome_of_response(reply).await;
    Resolution::Complete {
        outcome: outcome.expect("a whole body"),
        ttl: Duration::from_secs(60),
    }
}

/// Asserts that nothing has run, and nothing will without an operator: the client is not told to retry.
#[track_caller]
fn assert_unknown(reply: &Reply) {
    reply.assert_problem("idempotency_outcome_unknown");
    assert_eq!(reply.header("retry-after"), None);
}
