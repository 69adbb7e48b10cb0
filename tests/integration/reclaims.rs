//! Runs whose records the store has lost, as happens at a failover: they claim their keys again.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use http::StatusCode;
use idempotency::{Clock, Execution, MemoryStore, StepError, idempotent};
use serde_json::json;
use tests::reply::Reply;

use crate::{app::Probe, test_server::TestServer};

pub(crate) fn routes() -> Router<Probe> {
    Router::new()
        .route("/reclaims/refuse", post(refuse))
        .route("/reclaims/nothing", post(nothing))
        .route("/reclaims/resumed", post(resumed))
}

/// The first attempt charges and fails. The second one stops after the charge, and then does what the body says.
#[idempotent(ttl_seconds = 3600, lease_seconds = 3, on_lost = "refuse")]
async fn refuse(
    State(probe): State<Probe>,
    execution: Execution,
    Json(then): Json<String>,
) -> Result<Response, StepError<StatusCode>> {
    let receipt = execution.step("charge", probe.charge()).await?;
    let attempt = execution.attempt();
    if attempt == 1 {
        return Ok(StatusCode::SERVICE_UNAVAILABLE.into_response());
    }
    // Work that must not happen twice, without a step.
    let run = probe.count();
    if attempt == 2 && run == 2 {
        probe.stop(2).await;
        if then == "fail" {
            return Ok(StatusCode::SERVICE_UNAVAILABLE.into_response());
        }
    }
    let done = json!({ "attempt": attempt, "receipt": receipt, "run": run });
    Ok((StatusCode::CREATED, Json(done)).into_response())
}

/// Fails without a step.
#[idempotent(ttl_seconds = 3600, lease_seconds = 3, on_lost = "refuse")]
async fn nothing(State(probe): State<Probe>) -> StatusCode {
    if probe.count() == 1 {
        probe.stop(1).await;
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    StatusCode::CREATED
}

// proves: dead-owner-taken-over, lost-lease-stores-nothing, failover-forgets-writes
// proves: interrupted-run-stuck
#[tokio::test]
async fn a_run_that_was_claimed_again_and_is_then_lost_is_not_run_again() {
    let server = TestServer::new().await;
    let request = || server.post("/reclaims/refuse", "k", "\"\"");
    Reply::to(request()).await.assert_fresh(503);
    let lost = server.send(request());
    server.probe.started().await;
    let checkpoints = server.faults.checkpoint.calls();
    let clock = Clock::manual();
    server
        .faults
        .fail_over(MemoryStore::new().with_clock(clock.clone()));
    server.faults.checkpoint.called(checkpoints + 1).await;
    // The process dies: nothing is renewed.
    server.faults.renew.lose_requests(usize::MAX);
    clock.advance(Duration::from_secs(60));
    let retry = Reply::to(request()).await;
    retry.assert_problem("idempotency_outcome_unknown");
    drop(lost);
}

// proves: dead-owner-taken-over, lost-lease-stores-nothing, failover-forgets-writes
// proves: interrupted-run-stuck
#[tokio::test]
async fn a_run_that_was_claimed_again_and_then_fails_in_order_is_not_lost() {
    let server = TestServer::new().await;
    let request = || server.post("/reclaims/refuse", "k", "\"fail\"");
    Reply::to(request()).await.assert_fresh(503);
    let second = server.send(request());
    server.probe.started().await;
    let checkpoints = server.faults.checkpoint.calls();
    let clock = Clock::manual();
    server
        .faults
        .fail_over(MemoryStore::new().with_clock(clock.clone()));
    server.faults.checkpoint.called(checkpoints + 1).await;
    server.probe.proceed();
    second.await.expect("a response").assert_fresh(503);
    let retry = Reply::to(request()).await;
    retry.assert_fresh(201);
}

// proves: lost-lease-stores-nothing, dropped-future-loses-nothing, failover-forgets-writes
// proves: late-claim-holds-key
#[tokio::test]
async fn a_key_is_not_held_by_the_second_claim_of_a_run_that_has_ended() {
    let server = TestServer::new().await;
    let request = || server.post("/reclaims/nothing", "k", "{}");
    let failing = server.send(request());
    server.probe.started().await;
    let claims = server.faults.claim.calls();
    server.faults.claim.send_late(1);
    let clock = Clock::manual();
    server
        .faults
        .fail_over(MemoryStore::new().with_clock(clock.clone()));
    server.faults.claim.called(claims + 1).await;
    server.faults.renew.lose_requests(usize::MAX);
    server.probe.proceed();
    failing.await.expect("a response").assert_fresh(503);
    server.faults.claim.deliver().await;
    let retry = Reply::to(request()).await;
    retry.assert_fresh(201);
}

/// The first attempt charges and fails. The second one stops after the charge.
#[idempotent(ttl_seconds = 3600, lease_seconds = 3)]
async fn resumed(
    State(probe): State<Probe>,
    execution: Execution,
) -> Result<Response, StepError<StatusCode>> {
    let receipt = execution.step("charge", probe.charge()).await?;
    if execution.attempt() == 1 {
        return Ok(StatusCode::SERVICE_UNAVAILABLE.into_response());
    }
    if !STOPPED.swap(true, Ordering::SeqCst) {
        probe.stop(2).await;
    }
    Ok((StatusCode::CREATED, receipt).into_response())
}

static STOPPED: AtomicBool = AtomicBool::new(false);

// proves: lost-lease-stores-nothing, downstream-key-derived, failover-forgets-writes
// proves: late-reply-two-runs
#[tokio::test]
async fn a_take_over_that_is_claimed_again_before_its_run_keeps_the_steps() {
    let server = TestServer::new().await;
    let request = || server.post("/reclaims/resumed", "k", "{}");
    Reply::to(request()).await.assert_fresh(503);
    server.faults.claim.stop_replies(1);
    let second = server.send(request());
    server.faults.claim.stopped().await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let clock = Clock::manual();
    server
        .faults
        .fail_over(MemoryStore::new().with_clock(clock.clone()));
    server.faults.claim.open();
    server.probe.started().await;
    // The process dies.
    server.faults.renew.lose_requests(usize::MAX);
    clock.advance(Duration::from_secs(60));
    let third = Reply::to(request()).await;
    assert_eq!(third.text(), "receipt 1");
    drop(second);
}
