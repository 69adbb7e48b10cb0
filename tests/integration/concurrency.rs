//! Duplicates that meet while the first request runs.

use std::{
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use rstest_reuse::apply;
use tests::reply::Reply;
use tokio::runtime::Handle;

use crate::{
    backend::{Backend, each_store, installed},
    test_server::{BOOKING, TestServer},
};

// proves: running-duplicate-gets-409, retry-after-is-short
#[tokio::test]
async fn a_duplicate_is_told_when_to_retry() {
    let server = TestServer::new().await;
    let running = server.send(server.post("/stop", "k", BOOKING));
    server.probe.started().await;
    for _ in 0..3 {
        let duplicate = Reply::to(server.post("/stop", "k", BOOKING)).await;
        duplicate.assert_problem("idempotency_in_progress");
        let seconds: u64 = duplicate
            .header("retry-after")
            .expect("seconds")
            .parse()
            .expect("a number");
        assert!((1..=3600).contains(&seconds));
    }
    server.probe.proceed();
    let first = running.await.expect("a response");
    first.assert_fresh(201);
    Reply::to(server.post("/stop", "k", BOOKING))
        .await
        .assert_replays(&first);
    assert_eq!(server.probe.runs(), 1);
}

// proves: state-decides-response, mismatch-refused-while-running, mismatch-gets-409
#[tokio::test]
async fn another_request_is_refused_even_while_the_first_one_runs() {
    let server = TestServer::new().await;
    let running = server.send(server.post("/stop", "k", BOOKING));
    server.probe.started().await;
    let other = Reply::to(server.post("/stop", "k", "{}")).await;
    other.assert_problem("idempotency_key_reused");
    // Nor does it wait before it is refused.
    let patient = server.post("/stop", "k", "{}").header("prefer", "wait=60");
    let other = Reply::to(patient).await;
    other.assert_problem("idempotency_key_reused");
    server.probe.proceed();
    running.await.expect("a response").assert_fresh(201);
}

// proves: one-atomic-claim, concurrent-equals-run-once, check-then-claim
// proves: loser-refused-not-replayed, lost-claim-as-outage
#[apply(each_store)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_equal_requests_one_runs(backend: Backend) {
    let server = installed!(TestServer::on(backend).await);
    let requests: Vec<_> = (0..50).map(|_| server.send(server.booking("k"))).collect();
    let (mut fresh, mut replayed, mut refused) = (0, 0, 0);
    for request in requests {
        let response = request.await.expect("a response");
        match response.status.as_u16() {
            201 if response.is_replay() => replayed += 1,
            201 => fresh += 1,
            _ => {
                response.assert_problem("idempotency_in_progress");
                refused += 1;
            }
        }
    }
    assert_eq!((fresh, replayed + refused, server.probe.runs()), (1, 49, 1));
    assert!(Reply::to(server.booking("k")).await.is_replay());
}

// proves: different-keys-all-run
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_bodies_under_different_keys_all_run() {
    let server = TestServer::new().await;
    let requests: Vec<_> = (0..50)
        .map(|key| server.send(server.booking(&key.to_string())))
        .collect();
    for request in requests {
        request.await.expect("a response").assert_fresh(201);
    }
    assert_eq!(server.probe.runs(), 50);
}

// proves: duplicate-may-wait, only-replays-marked
#[apply(each_store)]
#[tokio::test]
async fn duplicates_that_wait_get_the_response(backend: Backend) {
    let server = installed!(TestServer::on(backend).await);
    let running = server.send(server.post("/stop/wait", "k", BOOKING));
    server.probe.started().await;
    let waiting: Vec<_> = (0..10)
        .map(|_| server.send(server.post("/stop/wait", "k", BOOKING)))
        .collect();
    // A waiter that listens has read the record twice: once before it began to listen, and once after.
    server.faults.claim.called(1 + 10 * 2).await;
    server.probe.proceed();
    let first = running.await.expect("a response");
    first.assert_fresh(201);
    for waiter in waiting {
        waiter.await.expect("a response").assert_replays(&first);
    }
    assert_eq!(server.probe.runs(), 1);
}

// proves: duplicate-may-wait
#[tokio::test]
async fn a_client_can_ask_to_wait_and_not_to() {
    let server = TestServer::new().await;
    let running = server.send(server.post("/stop", "k", BOOKING));
    server.probe.started().await;
    let patient = server
        .post("/stop", "k", BOOKING)
        .header("prefer", "respond-async; x=1, wait=60");
    let patient = server.send(patient);
    server.faults.claim.called(3).await;
    let hasty = Reply::to(server.post("/stop", "k", BOOKING)).await;
    hasty.assert_problem("idempotency_in_progress");
    server.probe.proceed();
    let first = running.await.expect("a response");
    patient.await.expect("a response").assert_replays(&first);

    let running = server.send(server.post("/stop/wait", "k2", BOOKING));
    server.probe.started().await;
    let hasty = server
        .post("/stop/wait", "k2", BOOKING)
        .header("prefer", "wait=0");
    Reply::to(hasty)
        .await
        .assert_problem("idempotency_in_progress");
    server.probe.proceed();
    running.await.expect("a response").assert_fresh(201);
}

// proves: duplicate-may-wait, waiter-ends-hold
#[tokio::test]
async fn a_waiter_whose_time_is_up_leaves_the_owner_alone() {
    let server = TestServer::new().await;
    let running = server.send(server.post("/stop", "k", BOOKING));
    server.probe.started().await;
    let waiter = Reply::to(
        server
            .post("/stop", "k", BOOKING)
            .header("prefer", "wait=1"),
    )
    .await;
    waiter.assert_problem("idempotency_in_progress");
    assert_eq!(server.faults.release.calls(), 0);
    server.probe.proceed();
    let first = running.await.expect("a response");
    first.assert_fresh(201);
    Reply::to(server.post("/stop", "k", BOOKING))
        .await
        .assert_replays(&first);
}

// proves: duplicate-may-wait
#[apply(each_store)]
#[tokio::test]
async fn when_the_owner_gives_up_one_waiter_runs_and_the_others_go_on_waiting(backend: Backend) {
    let server = installed!(TestServer::on(backend).await);
    let owner = server.send(server.post("/stop/fail-once", "k", BOOKING));
    server.probe.started().await;
    let waiting: Vec<_> = (0..5)
        .map(|_| server.send(server.post("/stop/fail-once", "k", BOOKING)))
        .collect();
    server.faults.claim.called(1 + 5 * 2).await;
    server.probe.proceed();
    owner.await.expect("a response").assert_fresh(500);
    server.probe.started().await;
    server.probe.proceed();
    let mut fresh = 0;
    for waiter in waiting {
        let response = waiter.await.expect("a response");
        assert_eq!(response.status(), "201 Created");
        assert_eq!(response.json()["run"], 2);
        fresh += usize::from(!response.is_replay());
    }
    assert_eq!((fresh, server.probe.runs()), (1, 2));
}

// proves: duplicate-may-wait, lost-wakeup-hangs-waiter
#[apply(each_store)]
#[tokio::test]
async fn a_waiter_takes_over_when_the_owner_does_not_recover(backend: Backend) {
    let server = installed!(TestServer::on(backend).await);
    server.abandon("/bookings", "k", BOOKING).await;
    let claims = server.faults.claim.calls();
    let waiter = server.send(server.booking("k").header("prefer", "wait=60"));
    server.faults.claim.called(claims + 2).await;
    server.pass(30);
    let response = waiter.await.expect("a response");
    response.assert_fresh(201);
    assert_eq!(server.probe.runs(), 1);
}

// proves: hold-lives-by-renewal, live-owner-replaced, run-outlives-lease, renewal-stops-early
#[apply(each_store)]
#[tokio::test]
async fn a_run_longer_than_its_lease_keeps_its_key(backend: Backend) {
    let server = installed!(TestServer::on(backend).await);
    let running = server.send(server.post("/three-seconds", "k", BOOKING));
    server.probe.started().await;
    // The lease is three seconds by the store's clock, and the engine's timer renews it.
    for _ in 0..2 {
        let renewals = server.faults.renew.calls();
        server.time.pass(Duration::from_millis(2500));
        server.faults.renew.called(renewals + 2).await;
        let duplicate = Reply::to(server.post("/three-seconds", "k", BOOKING)).await;
        duplicate.assert_problem("idempotency_in_progress");
    }
    server.probe.proceed();
    running.await.expect("a response").assert_fresh(201);
    assert_eq!(server.probe.runs(), 1);
}

/// Wakes a worker again and again, as the other threads of a service do, until this is dropped. tokio may poll no socket as
/// long as the worker that polled last blocks its thread, and no other worker is woken.
fn wake_workers() -> mpsc::Sender<()> {
    let (sender, stopped) = mpsc::channel();
    let runtime = Handle::current();
    thread::spawn(move || {
        let interval = Duration::from_millis(20);
        while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
            runtime.spawn(async {});
        }
    });
    sender
}

// proves: hold-lives-by-renewal, run-outlives-lease
#[apply(each_store)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_blocks_its_thread_keeps_its_key(backend: Backend) {
    let server = installed!(TestServer::on(backend).await);
    let _others = wake_workers();
    let running = server.send(server.post("/blocking", "k", BOOKING));
    server.probe.started().await;
    server.faults.renew.called(2).await;
    server.probe.unblock();
    running.await.expect("a response").assert_fresh(201);
}

// proves: one-atomic-claim, failures-free-key, record-vanishes-after-claim, lost-claim-as-outage
#[apply(each_store)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duplicates_of_runs_that_store_nothing_run_or_are_told_to_retry(backend: Backend) {
    let server = installed!(TestServer::on(backend).await);
    let requests: Vec<_> = (0..100)
        .map(|_| server.send(server.post("/script", "k", r#"{"status":500}"#)))
        .collect();
    let mut ran = 0;
    for request in requests {
        let response = request.await.expect("a response");
        match response.status.as_u16() {
            500 => ran += 1,
            _ => response.assert_problem("idempotency_in_progress"),
        }
    }
    assert_eq!((server.probe.runs(), server.records().await), (ran, 0));
}

// proves: duplicate-may-wait, waiters-exhaust-pool
#[apply(each_store)]
#[tokio::test]
async fn waiters_block_no_other_request(backend: Backend) {
    let server = installed!(TestServer::on(backend).await);
    let running = server.send(server.post("/stop/wait", "k", BOOKING));
    server.probe.started().await;
    let waiting: Vec<_> = (0..100)
        .map(|_| server.send(server.post("/stop/wait", "k", BOOKING)))
        .collect();
    server.faults.claim.called(1 + 100 * 2).await;
    Reply::to(server.booking("another")).await.assert_fresh(201);
    server.probe.proceed();
    let first = running.await.expect("a response");
    for waiter in waiting {
        waiter.await.expect("a response").assert_replays(&first);
    }
    assert_eq!(server.probe.runs(), 2);
}
