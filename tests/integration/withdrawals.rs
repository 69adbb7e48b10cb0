//! Claims whose run does not begin: their caller disconnects, or the store fails. No stored progress is lost, and no key stays
//! claimed without a run.

use std::sync::Arc;

use axum::{
    Router,
    extract::Request,
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::StatusCode;
use idempotency::store::{IfOwner, Phase};
use reqwest::RequestBuilder;
use rstest_reuse::apply;
use tests::{reply::Reply, wait::within_a_minute};
use tokio::sync::Notify;

use crate::{
    backend::{Backend, each_store, installed},
    test_server::{BOOKING, TestServer},
};

/// A layer that drops the inner future when a test says so, as a server does when its client disconnects.
#[derive(Clone, Default)]
struct Leaving(Arc<Notify>);

impl Leaving {
    fn around(&self, app: Router) -> Router {
        let notify = Arc::clone(&self.0);
        app.layer(from_fn(move |request: Request, next: Next| {
            let notify = Arc::clone(&notify);
            async move {
                if request.headers().contains_key("x-leaving") {
                    unless_left(&notify, next.run(request)).await
                } else {
                    next.run(request).await
                }
            }
        }))
    }

    /// Sends a request and drops it while its claim's reply is held back. The reply is let through afterwards.
    async fn leave_at_claim(&self, server: &TestServer, request: RequestBuilder) {
        server.faults.claim.stop_replies(1);
        let left = server.send(request.header("x-leaving", "1"));
        server.faults.claim.stopped().await;
        self.leave(server, left).await;
    }

    async fn leave(&self, server: &TestServer, left: tokio::task::JoinHandle<Reply>) {
        let withdrawals = server.faults.withdraw.calls();
        self.0.notify_one();
        let left = left.await.expect("a response");
        assert_eq!(left.status, StatusCode::GATEWAY_TIMEOUT);
        server.faults.claim.open();
        server.faults.withdraw.called(withdrawals + 1).await;
    }
}

async fn unless_left(leaving: &Notify, response: impl Future<Output = Response>) -> Response {
    tokio::select! {
        response = response => response,
        () = leaving.notified() => StatusCode::GATEWAY_TIMEOUT.into_response(),
    }
}

fn steps(server: &TestServer, path: &str, then: &str) -> RequestBuilder {
    server.post(path, "k", &format!("\"{then}\""))
}

/// An attempt that charges and then fails, so that the next one continues after the charge.
async fn charge_and_fail(server: &TestServer, path: &str) {
    let failed = Reply::to(steps(server, path, "fail")).await;
    failed.assert_fresh(503);
    assert_eq!(server.probe.runs(), 1);
}

/// Asserts that the next attempt begins at once, as the second one, and does not charge again.
async fn the_next_attempt_goes_on(server: &TestServer, path: &str, then: &str) {
    let done = Reply::to(steps(server, path, then)).await;
    done.assert_fresh(201);
    assert_eq!(done.json()["attempt"], 2, "{done:?}");
    assert_eq!(done.json()["receipt"], "receipt 1");
    assert_eq!(server.probe.runs(), 2);
}

#[track_caller]
fn assert_unavailable(reply: &Reply) {
    reply.assert_problem("idempotency_store_unavailable");
}

// proves: dropped-future-loses-nothing, dropped-retry-deletes-steps
#[tokio::test]
async fn a_retry_that_leaves_keeps_the_steps_of_the_run_before() {
    let leaving = Leaving::default();
    let server = TestServer::wrapped(|app| leaving.around(app)).await;
    charge_and_fail(&server, "/steps").await;
    let retry = steps(&server, "/steps", "fail");
    leaving.leave_at_claim(&server, retry).await;
    the_next_attempt_goes_on(&server, "/steps", "fail").await;
}

// proves: dropped-future-loses-nothing, dropped-retry-deletes-steps
#[apply(each_store)]
#[tokio::test]
async fn a_retry_that_leaves_keeps_the_steps_of_a_lost_run(backend: Backend) {
    let leaving = Leaving::default();
    let server = installed!(TestServer::wrapped_on(backend, |app| leaving.around(app)).await);
    let lost = server.send(steps(&server, "/steps", "stop"));
    server.probe.started().await;
    server.pass(31);
    leaving
        .leave_at_claim(&server, steps(&server, "/steps", "stop"))
        .await;
    let record = server.only_record().await.0;
    let found = server.idempotency.store().inspect(&record.id).await;
    let found = found.expect("a response").expect("a record");
    assert_eq!(found.attempt, 1);
    the_next_attempt_goes_on(&server, "/steps", "stop").await;
    server.probe.proceed();
    assert!(lost.await.expect("a response").is_replay());
}

/// Under `on_lost = "refuse"` a second claim takes over the suspended key. Its caller leaves during that claim.
// proves: dead-owner-taken-over, dropped-future-loses-nothing, dropped-retry-deletes-steps
#[tokio::test]
async fn a_take_over_that_leaves_does_not_make_the_outcome_unknown() {
    let leaving = Leaving::default();
    let server = TestServer::wrapped(|app| leaving.around(app)).await;
    charge_and_fail(&server, "/steps/refuse").await;
    server.faults.claim.stop_replies(1);
    let retry = steps(&server, "/steps/refuse", "fail");
    let left = server.send(retry.header("x-leaving", "1"));
    server.faults.claim.stopped().await;
    server.faults.claim.stop_replies(1);
    server.faults.claim.open();
    server.faults.claim.stopped().await;
    leaving.leave(&server, left).await;
    the_next_attempt_goes_on(&server, "/steps/refuse", "fail").await;
}

// proves: dropped-future-loses-nothing, dropped-retry-deletes-steps
#[tokio::test]
async fn a_take_over_whose_response_is_lost_keeps_the_steps() {
    let server = TestServer::new().await;
    charge_and_fail(&server, "/steps").await;
    server.faults.claim.lose_replies(1);
    assert_unavailable(&Reply::to(steps(&server, "/steps", "fail")).await);
    server.faults.withdraw.called(1).await;
    the_next_attempt_goes_on(&server, "/steps", "fail").await;
}

// proves: dropped-future-loses-nothing, late-claim-holds-key
#[apply(each_store)]
#[tokio::test]
async fn a_claim_that_arrives_after_its_withdrawal_takes_nothing(backend: Backend) {
    let server = installed!(TestServer::on(backend).await);
    for (run, path) in [(1, "/lost"), (2, "/posted")] {
        server.faults.claim.send_late(1);
        let key = format!("k{run}");
        assert_unavailable(&Reply::to(server.post(path, &key, BOOKING)).await);
        server.faults.withdraw.called(run).await;
        server.faults.claim.deliver().await;
        assert_eq!(server.records().await, run - 1);
        let next = Reply::to(server.post(path, &key, BOOKING)).await;
        next.assert_fresh(201);
        assert_eq!(server.probe.runs(), run);
    }
}

// proves: dropped-future-loses-nothing, dropped-retry-deletes-steps, late-claim-holds-key
#[tokio::test]
async fn a_take_over_that_arrives_after_its_withdrawal_takes_nothing() {
    let server = TestServer::new().await;
    charge_and_fail(&server, "/steps").await;
    server.faults.claim.send_late(1);
    assert_unavailable(&Reply::to(steps(&server, "/steps", "fail")).await);
    server.faults.withdraw.called(1).await;
    server.faults.claim.deliver().await;
    the_next_attempt_goes_on(&server, "/steps", "fail").await;
}

// proves: dropped-future-loses-nothing, dropped-retry-deletes-steps, late-claim-holds-key
#[apply(each_store)]
#[tokio::test]
async fn a_take_over_of_a_lost_run_that_arrives_after_its_withdrawal_takes_nothing(
    backend: Backend,
) {
    let server = installed!(TestServer::on(backend).await);
    let lost = server.send(steps(&server, "/steps", "stop"));
    server.probe.started().await;
    server.pass(31);
    server.faults.claim.send_late(1);
    assert_unavailable(&Reply::to(steps(&server, "/steps", "stop")).await);
    server.faults.withdraw.called(1).await;
    server.faults.claim.deliver().await;
    the_next_attempt_goes_on(&server, "/steps", "stop").await;
    server.probe.proceed();
    assert!(lost.await.expect("a response").is_replay());
}

/// The withdrawal is retried, and no response before that says anything untrue.
// proves: dropped-future-loses-nothing, late-claim-holds-key
#[tokio::test]
async fn a_withdrawal_is_tried_until_the_store_takes_it() {
    let server = TestServer::new().await;
    server.faults.withdraw.lose_requests(2);
    server.faults.claim.lose_replies(1);
    assert_unavailable(&Reply::to(server.post("/lost", "k", BOOKING)).await);
    let held = Reply::to(server.post("/lost", "k", BOOKING)).await;
    held.assert_problem("idempotency_in_progress");
    server.faults.withdraw.called(3).await;
    let next = Reply::to(server.post("/lost", "k", BOOKING)).await;
    next.assert_fresh(201);
    assert_eq!(server.probe.runs(), 1);
}

// proves: shutdown-waits-for-runs, dropped-future-loses-nothing
#[tokio::test]
async fn a_shutdown_waits_for_withdrawals() {
    let server = TestServer::new().await;
    server.faults.withdraw.stop_replies(1);
    server.faults.claim.lose_replies(1);
    assert_unavailable(&Reply::to(server.post("/lost", "k", BOOKING)).await);
    server.faults.withdraw.stopped().await;
    let mut shutdown = Box::pin(server.idempotency.shutdown());
    tokio::select! {
        biased;
        () = &mut shutdown => panic!("a withdrawal is under way"),
        () = std::future::ready(()) => {}
    }
    server.faults.withdraw.open();
    within_a_minute("the end of the shutdown", shutdown).await;
}

/// An attempt that cannot read the progress does not keep the key.
// proves: other-version-is-error, dropped-future-loses-nothing, damaged-record-frees-key
#[tokio::test]
async fn a_take_over_that_cannot_read_the_steps_holds_nothing() {
    let server = TestServer::new().await;
    let lost = server.send(steps(&server, "/steps", "stop"));
    server.probe.started().await;
    let (hold, _) = server.only_record().await;
    let store = server.idempotency.store();
    let damage = store.checkpoint(&hold, Bytes::from_static(&[7; 100]));
    assert_eq!(damage.await.ok(), Some(IfOwner::Done(())));
    server.pass(31);
    for refused in 1..=2 {
        assert_unavailable(&Reply::to(steps(&server, "/steps", "stop")).await);
        server.faults.withdraw.called(refused).await;
        let found = store.inspect(&hold.id).await.expect("a reply");
        let found = found.expect("a record");
        let Phase::InFlight { lease_until, .. } = found.phase else {
            panic!("it has not ended: {found:?}");
        };
        assert!(lease_until <= server.time.now(), "{found:?}");
        assert_eq!(found.attempt, 1);
    }
    server.probe.proceed();
    drop(lost.await);
}
