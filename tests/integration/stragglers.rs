//! Calls that reach the store late, and runs whose records the store has lost.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use http::StatusCode;
use idempotency::{
    Clock, Execution, OnLost, SqliteDatabase, SqliteStore, StepError, idempotent,
    store::{Claim, ClaimRequest, IfOwner, Token},
};
use rstest_reuse::apply;
use serde_json::json;
use tests::reply::Reply;

use crate::{
    app::Probe,
    backend::{Backend, each_store, installed},
    earlier::of_version,
    test_server::{BOOKING, TestServer},
    time::Time,
};

pub(crate) fn routes() -> Router<Probe> {
    Router::new()
        .route("/stragglers/late", post(late))
        .route("/stragglers/recursive", post(recursive))
        .route("/stragglers/commit", post(commit))
        .route("/stragglers/renewed", post(renewed))
}

#[idempotent(ttl_seconds = 3600)]
async fn late(
    State(probe): State<Probe>,
    execution: Execution,
) -> Result<Response, StepError<StatusCode>> {
    let counted = probe.clone();
    let order = async move { Ok(format!("order {}", counted.count())) };
    let order = execution.step("order", order).await?;
    let counted = probe.clone();
    let charge = async move { Ok(format!("charge {}", counted.count())) };
    let charge = execution.step("charge", charge).await?;
    if execution.attempt() == 1 {
        return Ok(StatusCode::SERVICE_UNAVAILABLE.into_response());
    }
    Ok((StatusCode::CREATED, Json(json!([order, charge]))).into_response())
}

#[idempotent(ttl_seconds = 3600)]
async fn recursive(State(probe): State<Probe>, execution: Execution) -> StatusCode {
    let inner = execution.clone();
    let outer = execution.step("a", async move {
        let _ = probe;
        inner
            .step("a", async { Ok::<_, StatusCode>(1) })
            .await
            .map_err(|_| StatusCode::OK)
    });
    match tokio::time::timeout(Duration::from_secs(2), outer).await {
        Ok(_) => StatusCode::CREATED,
        Err(_) => StatusCode::GATEWAY_TIMEOUT,
    }
}

// proves: custom-versioned-fingerprint, other-version-is-error, upgrade-changes-key-derivation
#[tokio::test]
async fn a_key_that_version_1_gave_back_is_not_taken_for_another_request() {
    let server = TestServer::new().await;
    server.abandon("/posted", "k", BOOKING).await;
    let (hold, _) = server.only_record().await;
    let store = server.idempotency.store();
    // As version 1 wrote it.
    drop(store.release(&hold).await);
    server.pass(31);
    let mut hold = hold;
    hold.token = Token::random();
    let claim = store
        .claim(ClaimRequest::new(
            &hold,
            &of_version(1, "/posted", BOOKING),
            OnLost::Refuse,
        ))
        .await;
    assert!(matches!(claim, Ok(Claim::Won { .. })), "{claim:?}");

    server.faults.claim.stop_replies(1);
    let slow = server.send(server.post("/posted", "k", BOOKING));
    server.faults.claim.stopped().await;
    assert_eq!(store.release(&hold).await.ok(), Some(IfOwner::Done(())));
    let first = Reply::to(server.post("/posted", "k", BOOKING)).await;
    first.assert_fresh(201);
    server.faults.claim.open();
    let slow = slow.await.expect("a response");
    slow.assert_replays(&first);
}

// proves: dropped-future-loses-nothing, late-claim-holds-key
#[apply(each_store)]
#[tokio::test]
async fn the_first_of_two_withdrawn_claims_takes_nothing(backend: Backend) {
    let server = installed!(TestServer::on(backend).await);
    server.faults.claim.send_late(2);
    for withdrawals in 1..=2 {
        let refused = Reply::to(server.post("/lost", "k", BOOKING)).await;
        assert_eq!(refused.status(), "503 Service Unavailable");
        server.faults.withdraw.called(withdrawals).await;
    }
    server.faults.claim.deliver().await;
    server.pass(31);
    Reply::to(server.post("/lost", "k", BOOKING))
        .await
        .assert_fresh(201);
}

// proves: dropped-future-loses-nothing, stale-owner-writes, dead-connection-outlives-lease
#[apply(each_store)]
#[tokio::test]
async fn a_late_checkpoint_does_not_undo_a_later_step(backend: Backend) {
    let server = installed!(TestServer::on(backend).await);
    server.faults.checkpoint.send_late(1);
    let request = || server.post("/stragglers/late", "k", "{}");
    Reply::to(request()).await.assert_fresh(503);
    assert_eq!(server.probe.runs(), 2);
    server.faults.checkpoint.deliver().await;
    let done = Reply::to(request()).await;
    done.assert_fresh(201);
    assert_eq!(done.json(), json!(["order 1", "charge 2"]));
}

// proves: dropped-future-loses-nothing
#[tokio::test]
async fn a_step_within_itself_does_not_hang() {
    let server = TestServer::new().await;
    let request = || server.post("/stragglers/recursive", "k", "{}");
    let first = Reply::to(request()).await;
    first.assert_fresh(201);
    Reply::to(request()).await.assert_replays(&first);
}

static DATABASE: OnceLock<SqliteDatabase> = OnceLock::new();

/// Drops a step, commits, and responds once the step has ended.
#[idempotent(ttl_seconds = 3600)]
async fn commit(State(probe): State<Probe>, execution: Execution) -> Response {
    let stopping = probe.clone();
    let step = execution.step("charge", async move {
        stopping.stop(1).await;
        Ok::<_, StatusCode>(1)
    });
    assert!(
        tokio::time::timeout(Duration::from_millis(50), step)
            .await
            .is_err()
    );
    let database = DATABASE.get().expect("a database");
    let work = database
        .transaction(|connection| connection.execute_batch("create table if not exists t (a)"));
    let reply = (StatusCode::CREATED, [("set-cookie", "session=1")], "booked");
    let response = execution.commit(work, reply).await.expect("a commit");
    probe.proceed();
    // Waits for the first one.
    drop(
        execution
            .step("charge", async { Ok::<_, StatusCode>(2) })
            .await,
    );
    response
}

// proves: run-survives-client-leaving, rows-and-key-commit-together, dropped-step-overwritten
#[tokio::test]
async fn a_step_that_ends_after_the_commit_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let database = SqliteDatabase::open(folder.path().join("db")).expect("a database");
    let clock = Clock::manual();
    let store = SqliteStore::new(database.clone())
        .expect("a store")
        .with_clock(clock.clone());
    // The engine has to hold the store itself.
    drop(DATABASE.set(database));
    let server = TestServer::over(Arc::new(store.clone()), Time::by_hand(clock)).await;
    let idempotency = idempotency::Idempotency::new(store);
    let app = crate::app::router(&idempotency, server.probe.clone())
        .layer(axum::Extension(idempotency.clone()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, app).await });
    let first = Reply::to(
        server
            .client
            .post(format!("http://{address}/stragglers/commit"))
            .header("idempotency-key", "k"),
    )
    .await;
    first.assert_fresh(201);
    assert_eq!(first.header("set-cookie"), Some("session=1"));
}

#[idempotent(ttl_seconds = 3600, lease_seconds = 3)]
async fn renewed(
    State(probe): State<Probe>,
    execution: Execution,
) -> Result<Response, StepError<StatusCode>> {
    let receipt = execution.step("charge", probe.charge()).await?;
    if execution.attempt() == 1 {
        probe.stop(1).await;
        return Ok(StatusCode::SERVICE_UNAVAILABLE.into_response());
    }
    Ok((StatusCode::CREATED, receipt).into_response())
}

// proves: dropped-future-loses-nothing, stale-owner-writes, dead-connection-outlives-lease
#[apply(each_store)]
#[tokio::test]
async fn a_late_renewal_does_not_hold_the_key_of_a_run_that_has_given_it_back(backend: Backend) {
    let server = installed!(TestServer::on(backend).await);
    server.faults.renew.send_late(1);
    let request = || server.post("/stragglers/renewed", "k", "{}");
    let failing = server.send(request());
    server.probe.started().await;
    server.faults.renew.called(1).await;
    server.probe.proceed();
    failing.await.expect("a response").assert_fresh(503);
    server.faults.renew.deliver().await;
    let done = Reply::to(request()).await;
    done.assert_fresh(201);
}
