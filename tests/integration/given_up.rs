//! Steps that their handler drops, as a timeout around them does: a step that has begun is finished and stored.

use std::{future::poll_fn, pin::pin, task::Poll};

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use http::StatusCode;
use idempotency::{Clock, Execution, MemoryStore, StepError, idempotent, store::Phase};
use serde_json::json;
use tests::{reply::Reply, wait::within_a_minute};

use crate::{app::Probe, test_server::TestServer};

pub(crate) fn routes() -> Router<Probe> {
    Router::new()
        .route("/given-up", post(give_up))
        .route("/given-up/short", post(charge_and_fail))
}

/// In its first attempt, drops its first step once it has begun, and then does what the body says.
#[idempotent(ttl_seconds = 3600)]
async fn give_up(
    State(probe): State<Probe>,
    execution: Execution,
    Json(then): Json<String>,
) -> Result<Response, StepError<StatusCode>> {
    let charge = || {
        let probe = probe.clone();
        async move {
            let run = probe.count();
            probe.stop(run).await;
            Ok(format!("receipt {run}"))
        }
    };
    let is_first = execution.attempt() == 1;
    if is_first {
        poll_once(execution.step("charge", charge())).await;
        if then == "respond" {
            return Ok((StatusCode::CREATED, "without a receipt").into_response());
        }
    }
    let receipt = if is_first && then == "fail" {
        String::new()
    } else {
        execution.step("charge", charge()).await?
    };
    let counted = probe.clone();
    let mail = async move { Ok(format!("mail {}", counted.count())) };
    let mail = execution.step("mail", mail).await?;
    if is_first && then == "fail" {
        return Ok(StatusCode::SERVICE_UNAVAILABLE.into_response());
    }
    let done = json!({ "attempt": execution.attempt(), "receipt": receipt, "mail": mail });
    Ok((StatusCode::CREATED, Json(done)).into_response())
}

/// A step and a failure, under a lease so short that the engine soon gives up on the store.
#[idempotent(ttl_seconds = 3600, lease_seconds = 3)]
async fn charge_and_fail(
    State(probe): State<Probe>,
    execution: Execution,
    Json(then): Json<String>,
) -> Result<Response, StepError<StatusCode>> {
    let receipt = execution.step("charge", probe.charge()).await?;
    if execution.attempt() == 1 {
        if then == "stop" {
            probe.stop(1).await;
        }
        return Ok(StatusCode::SERVICE_UNAVAILABLE.into_response());
    }
    Ok((StatusCode::CREATED, receipt).into_response())
}

async fn poll_once(future: impl Future) {
    let mut future = pin!(future);
    poll_fn(|context| {
        let polled = future.as_mut().poll(context);
        assert!(polled.is_pending(), "the step stops");
        Poll::Ready(())
    })
    .await;
}

/// The client gets its response before the step has ended. Until it has, the key is not free.
// proves: dropped-future-loses-nothing, dropped-step-overwritten
#[tokio::test]
async fn a_step_that_is_given_up_is_kept_for_the_next_attempt() {
    let server = TestServer::new().await;
    let request = || server.post("/given-up", "k", "\"fail\"");
    let failed = Reply::to(request()).await;
    failed.assert_fresh(503);
    let running = Reply::to(request()).await;
    running.assert_problem("idempotency_in_progress");
    server.probe.proceed();
    let done = Reply::to(request().header("prefer", "wait=60")).await;
    done.assert_fresh(201);
    let expected = json!({ "attempt": 2, "receipt": "receipt 1", "mail": "mail 2" });
    assert_eq!(done.json(), expected);
    assert_eq!(server.probe.runs(), 2);
}

// proves: dropped-future-loses-nothing, dropped-step-overwritten
#[tokio::test]
async fn a_step_that_is_tried_again_waits_for_the_one_that_was_given_up() {
    let server = TestServer::new().await;
    let running = server.send(server.post("/given-up", "k", "\"try again\""));
    server.probe.started().await;
    server.probe.proceed();
    let done = running.await.expect("a response");
    done.assert_fresh(201);
    let expected = json!({ "attempt": 1, "receipt": "receipt 1", "mail": "mail 2" });
    assert_eq!(done.json(), expected);
}

// proves: shutdown-waits-for-runs, dropped-future-loses-nothing, dropped-step-overwritten
#[tokio::test]
async fn a_run_may_respond_before_a_step_that_it_has_given_up() {
    let server = TestServer::new().await;
    let request = || server.post("/given-up", "k", "\"respond\"");
    let first = Reply::to(request()).await;
    first.assert_fresh(201);
    Reply::to(request()).await.assert_replays(&first);
    assert_eq!(server.probe.runs(), 1);

    let mut shutdown = Box::pin(server.idempotency.shutdown());
    tokio::select! {
        biased;
        () = &mut shutdown => panic!("the step is under way"),
        () = std::future::ready(()) => {}
    }
    server.probe.proceed();
    within_a_minute("the end of the shutdown", shutdown).await;
}

/// The work is done, so its result stays in memory and is stored when the run ends.
// proves: failed-completion-keeps-key, downstream-key-derived
#[tokio::test]
async fn a_step_that_the_store_did_not_take_is_kept_at_the_end_of_the_run() {
    let server = TestServer::new().await;
    let request = || server.post("/given-up/short", "k", "\"\"");
    server.faults.checkpoint.lose_requests(usize::MAX);
    let failed = Reply::to(request()).await;
    failed.assert_problem("idempotency_step_not_stored");
    assert_eq!(server.faults.suspend.calls(), 1);
    let done = Reply::to(request()).await;
    done.assert_fresh(201);
    assert_eq!(done.text(), "receipt 1");
    assert_eq!(server.probe.runs(), 1);
}

// proves: lost-lease-stores-nothing, failover-forgets-writes
#[tokio::test]
async fn steps_that_the_store_has_lost_are_kept_again() {
    let server = TestServer::new().await;
    let failing = server.send(server.post("/given-up/short", "k", "\"stop\""));
    server.probe.started().await;
    assert_eq!(server.faults.checkpoint.calls(), 1);
    server
        .faults
        .fail_over(MemoryStore::new().with_clock(Clock::manual()));
    // The run's next renewal stores it.
    server.faults.checkpoint.called(2).await;
    let (hold, _) = server.only_record().await;
    let found = server.idempotency.store().inspect(&hold.id).await;
    let phase = found.expect("a response").expect("a record").phase;
    let Phase::InFlight { progress, .. } = phase else {
        panic!("it has not ended: {phase:?}");
    };
    assert!(progress.windows(9).any(|bytes| bytes == b"receipt 1"));
    server.probe.proceed();
    let failed = failing.await.expect("a response");
    failed.assert_fresh(503);
    let done = Reply::to(server.post("/given-up/short", "k", "\"stop\"")).await;
    assert_eq!(done.text(), "receipt 1");
    assert_eq!(server.probe.runs(), 1);
}
