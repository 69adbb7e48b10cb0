//! Owners that die or lose their lease, and the runs that take over.

use std::time::Duration;

use idempotency::store::{IfOwner, Phase, Resolution, Token};
use rstest_reuse::apply;
use tests::reply::Reply;

use crate::{
    backend::{Backend, each_store, installed},
    test_server::{BOOKING, TestServer},
};

// proves: dead-owner-taken-over, mismatch-takes-over, crash-locks-for-ttl
#[apply(each_store)]
#[tokio::test]
async fn a_key_whose_owner_died_is_taken_until_its_lease_ends(backend: Backend) {
    let server = installed!(TestServer::on(backend).await);
    server.abandon("/bookings", "k", BOOKING).await;
    let rest = server.pass_nearly(30);
    let early = Reply::to(server.booking("k")).await;
    early.assert_problem("idempotency_in_progress");
    server.time.pass(rest);
    // A different request does not get the key, even now.
    let other = Reply::to(server.post("/bookings", "k", "{}")).await;
    other.assert_problem("idempotency_key_reused");
    let response = Reply::to(server.booking("k")).await;
    response.assert_fresh(201);
    Reply::to(server.booking("k"))
        .await
        .assert_replays(&response);
    assert_eq!(server.probe.runs(), 1);
}

// proves: dead-owner-taken-over, interrupted-run-stuck
#[tokio::test]
async fn an_operator_can_resolve_what_an_owner_that_died_has_left() {
    let server = TestServer::new().await;
    server.abandon("/bookings", "k", BOOKING).await;
    let store = server.idempotency.store();
    let (hold, _) = server.only_record().await;
    let strange = Token::random();
    let stranger = store.resolve(&hold.id, &strange, Resolution::Release);
    assert_eq!(stranger.await.expect("a response"), IfOwner::NotOwner);
    let freed = store.resolve(&hold.id, &hold.token, Resolution::Release);
    assert_eq!(freed.await.expect("a reply"), IfOwner::Done(()));
    let first = Reply::to(server.booking("k")).await;
    first.assert_fresh(201);

    // An operator who knows the outcome completes the key with it.
    let record = store.inspect(&hold.id).await.expect("a reply");
    let Phase::Completed { outcome } = record.expect("a record").phase else {
        panic!("the run has ended")
    };
    server.pass(3660);
    server.abandon("/bookings", "k2", BOOKING).await;
    let (hold, _) = server.only_record().await;
    let ttl = Duration::from_secs(60);
    let ended = store.resolve(&hold.id, &hold.token, Resolution::Complete { outcome, ttl });
    assert_eq!(ended.await.expect("a response"), IfOwner::Done(()));
    let again = Reply::to(server.booking("k2")).await;
    assert!(again.is_replay(), "{again:?}");
    assert_eq!(again.body, first.body);
    assert_eq!(server.probe.runs(), 0);
}

// proves: concurrent-equals-run-once, dead-owner-taken-over, check-then-claim, two-recoveries-run
#[apply(each_store)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_take_over_one_runs(backend: Backend) {
    let server = installed!(TestServer::on(backend).await);
    server.abandon("/bookings", "k", BOOKING).await;
    server.pass(30);
    let requests: Vec<_> = (0..20).map(|_| server.send(server.booking("k"))).collect();
    for request in requests {
        let response = request.await.expect("a response");
        assert!(
            [201, 409].contains(&response.status.as_u16()),
            "{response:?}"
        );
    }
    assert_eq!(server.probe.runs(), 1);
}

// proves: lost-lease-stores-nothing, stale-owner-writes
#[apply(each_store)]
#[tokio::test]
async fn an_owner_that_lost_its_lease_cannot_store_and_sends_the_new_owners_response(
    backend: Backend,
) {
    let server = installed!(TestServer::on(backend).await);
    let slow = server.send(server.post("/short", "k", BOOKING));
    server.probe.started().await;
    // As if the process had been paused: time passes, and the lease is not renewed.
    server.faults.renew.lose_requests(usize::MAX);
    server.pass(10);
    let taken_over = server.send(server.post("/short", "k", BOOKING));
    server.probe.started().await;
    server.probe.proceed_with(1);
    let slow = slow.await.expect("a response");
    slow.assert_problem("idempotency_in_progress");
    server.probe.proceed();
    let taken_over = taken_over.await.expect("a response");
    taken_over.assert_fresh(201);
    assert_eq!(taken_over.json()["run"], 2);
    Reply::to(server.post("/short", "k", BOOKING))
        .await
        .assert_replays(&taken_over);
}

// proves: lost-lease-stores-nothing, stale-owner-writes
#[tokio::test]
async fn an_owner_that_comes_too_late_replays_what_the_new_owner_stored() {
    let server = TestServer::new().await;
    let slow = server.send(server.post("/short", "k", BOOKING));
    server.probe.started().await;
    server.faults.renew.lose_requests(usize::MAX);
    server.pass(10);
    let taken_over = server.send(server.post("/short", "k", BOOKING));
    server.probe.started().await;
    server.probe.proceed_with(2);
    let taken_over = taken_over.await.expect("a response");
    taken_over.assert_fresh(201);
    server.probe.proceed_with(1);
    slow.await.expect("a response").assert_replays(&taken_over);
}
