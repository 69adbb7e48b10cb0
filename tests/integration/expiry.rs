//! How long a response is replayed, and what happens afterwards.

use std::time::{Duration, SystemTime};

use rstest_reuse::apply;
use tests::reply::Reply;

use crate::{
    backend::{Backend, each_store, installed},
    test_server::{BOOKING, TestServer},
};

/// Asserts the expiry date of a response that was stored between these times with a ttl of so many seconds. A date
/// has whole seconds.
#[track_caller]
pub(crate) fn assert_kept_for(
    response: &Reply,
    seconds: u64,
    earliest: SystemTime,
    latest: SystemTime,
) {
    let told = response.header("idempotency-expires").expect("a date");
    let told = httpdate::parse_http_date(told).expect("an HTTP date");
    let ttl = Duration::from_secs(seconds);
    assert!(
        told + Duration::from_secs(1) > earliest + ttl,
        "{response:?}"
    );
    assert!(told <= latest + ttl, "{response:?}");
}

// proves: replayed-until-ttl, expired-key-is-new, replay-never-extends-ttl
#[apply(each_store)]
#[tokio::test]
async fn a_response_is_replayed_until_its_ttl_and_the_grace_are_over(backend: Backend) {
    let server = installed!(TestServer::on(backend).await);
    let first = Reply::to(server.booking("k")).await;
    let rest = server.pass_nearly(3660);
    // A replay does not extend the ttl.
    Reply::to(server.booking("k")).await.assert_replays(&first);
    server.time.pass(rest);
    let after = Reply::to(server.post("/bookings", "k", "{}")).await;
    after.assert_fresh(201);
    assert_eq!(after.json()["run"], 2);
    Reply::to(server.post("/bookings", "k", "{}"))
        .await
        .assert_replays(&after);
}

// proves: replayed-until-ttl, forgotten-before-retries-stop
#[tokio::test]
async fn without_a_ttl_a_response_is_replayed_for_a_day() {
    let server = TestServer::new().await;
    const DAY: u64 = 24 * 60 * 60;
    let request = || server.post("/required", "k", BOOKING);
    let before = server.time.now();
    let first = Reply::to(request()).await;
    assert_kept_for(&first, DAY, before, server.time.now());
    let rest = server.pass_nearly(DAY + 60);
    Reply::to(request()).await.assert_replays(&first);
    server.time.pass(rest);
    Reply::to(request()).await.assert_fresh(201);
}

// proves: expired-key-is-new, check-then-claim, expiry-removes-successor
#[apply(each_store)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_expiry_one_of_many_runs(backend: Backend) {
    let server = installed!(TestServer::on(backend).await);
    Reply::to(server.booking("k")).await.assert_fresh(201);
    server.pass(3660);
    let requests: Vec<_> = (0..20).map(|_| server.send(server.booking("k"))).collect();
    let mut fresh = 0;
    for request in requests {
        let response = request.await.expect("a response");
        match response.status.as_u16() {
            201 => fresh += usize::from(!response.is_replay()),
            409 => {
                response.assert_problem("idempotency_in_progress");
            }
            _ => panic!("{response:?}"),
        }
    }
    assert_eq!((fresh, server.probe.runs()), (1, 2));
}

// proves: last-second-replayed, record-gone-last-second
#[tokio::test]
async fn a_retry_that_comes_after_the_announced_end_is_replayed_for_a_minute() {
    let server = TestServer::new().await;
    let before = server.time.now();
    let first = Reply::to(server.booking("k")).await;
    assert_kept_for(&first, 3600, before, server.time.now());
    server.pass(3600);
    let late = Reply::to(server.booking("k")).await;
    late.assert_replays(&first);
    assert_eq!(
        late.header("idempotency-expires"),
        first.header("idempotency-expires")
    );
    assert_eq!(server.probe.runs(), 1);
}

// proves: ttl-counts-from-completion
#[tokio::test]
async fn the_ttl_counts_from_completion() {
    let server = TestServer::new().await;
    let running = server.send(server.post("/stop", "k", BOOKING));
    server.probe.started().await;
    server.pass(20);
    server.probe.proceed();
    let first = running.await.expect("a response");
    first.assert_fresh(201);
    server.pass_nearly(3600);
    Reply::to(server.post("/stop", "k", BOOKING))
        .await
        .assert_replays(&first);
}

// proves: replayed-until-ttl
#[tokio::test]
async fn a_response_says_until_when_it_is_replayed() {
    let server = TestServer::new().await;
    let before = server.time.now();
    let first = Reply::to(server.booking("k")).await;
    assert_kept_for(&first, 3600, before, server.time.now());
    server.pass(60);
    let again = Reply::to(server.booking("k")).await;
    assert_eq!(
        again.header("idempotency-expires"),
        first.header("idempotency-expires")
    );
}

// proves: client-clock-irrelevant
#[tokio::test]
async fn the_clients_clock_does_not_matter() {
    let server = TestServer::new().await;
    let request = |date: &'static str| {
        server
            .booking("k")
            .header("date", date)
            .header("repeatability-first-sent", date)
    };
    let first = Reply::to(request("Sun, 06 Nov 1994 08:49:37 GMT")).await;
    first.assert_fresh(201);
    Reply::to(request("Tue, 01 Jan 2090 00:00:00 GMT"))
        .await
        .assert_replays(&first);
}

// proves: sweep-removes-only-expired, crash-locks-for-ttl, sweep-deletes-wrong-key
#[tokio::test]
async fn a_sweep_removes_what_is_expired_and_nothing_else() {
    let server = TestServer::new().await;
    for key in ["old-1", "old-2", "old-3"] {
        Reply::to(server.booking(key)).await.assert_fresh(201);
    }
    server.pass(3660);
    Reply::to(server.booking("young")).await.assert_fresh(201);
    let running = server.send(server.post("/stop", "running", BOOKING));
    server.probe.started().await;
    server.pass(60);

    let store = server.idempotency.store();
    let sweeps = [
        store.purge_expired(2).await.expect("a sweep"),
        store.purge_expired(100).await.expect("a sweep"),
        store.purge_expired(100).await.expect("a sweep"),
    ];
    assert_eq!(sweeps, [2, 1, 0]);
    assert!(Reply::to(server.booking("young")).await.is_replay());
    Reply::to(server.booking("old-1")).await.assert_fresh(201);
    // The run's lease has expired, but no other run has taken the key.
    server.probe.proceed();
    running.await.expect("a response").assert_fresh(201);
    assert!(
        Reply::to(server.post("/stop", "running", BOOKING))
            .await
            .is_replay()
    );
}

// proves: sweep-removes-only-expired
#[tokio::test]
async fn the_sweep_runs_by_itself() {
    let server =
        TestServer::configured(|builder| builder.with_sweep_every(Duration::from_millis(10))).await;
    let store = server.idempotency.store();
    Reply::to(server.booking("k")).await.assert_fresh(201);
    server.pass(7260);
    // The next sweep to end may have begun earlier.
    let sweeps = server.faults.purge.calls();
    server.faults.purge.called(sweeps + 2).await;
    assert_eq!(store.purge_expired(10).await.expect("a sweep"), 0);
}
