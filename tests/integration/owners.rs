//! Owners that die or lose their lease, and who comes after them.

use std::time::Duration;

use idempotency::store::{IfOwner, Phase, Resolution, Token};
use rstest_reuse::apply;

use crate::{
    answer::Answer,
    backend::{Backend, each_store, installed},
    world::{BOOKING, World},
};

// proves: dead-owner-taken-over, mismatch-takes-over, crash-locks-for-ttl
#[apply(each_store)]
#[tokio::test]
async fn a_key_whose_owner_died_is_taken_until_its_lease_ends(backend: Backend) {
    let world = installed!(World::new(backend).await);
    world.abandon("/bookings", "k", BOOKING).await;
    let rest = world.pass_nearly(30);
    let early = Answer::to(world.booking("k")).await;
    early.assert_problem("in-progress", "409 Conflict", "idempotency_in_progress");
    world.time.pass(rest);
    // Another request does not get the key, even now.
    let other = Answer::to(world.post("/bookings", "k", "{}")).await;
    other.assert_problem(
        "key-reused",
        "422 Unprocessable Entity",
        "idempotency_key_reused",
    );
    let answer = Answer::to(world.booking("k")).await;
    answer.assert_fresh("201 Created");
    Answer::to(world.booking("k"))
        .await
        .assert_replay_of(&answer);
    assert_eq!(world.probe.runs(), 1);
}

// proves: dead-owner-taken-over, interrupted-run-stuck
#[apply(each_store)]
#[tokio::test]
async fn an_operator_can_resolve_what_an_owner_that_died_has_left(backend: Backend) {
    let world = installed!(World::new(backend).await);
    world.abandon("/bookings", "k", BOOKING).await;
    let store = world.idempotency.store();
    let (hold, _) = world.only_record().await;
    let strange = Token::random();
    let stranger = store.resolve(&hold.id, &strange, Resolution::Release);
    assert_eq!(stranger.await.expect("an answer"), IfOwner::NotOwner);
    let freed = store.resolve(&hold.id, &hold.token, Resolution::Release);
    assert_eq!(freed.await.expect("an answer"), IfOwner::Done(()));
    let first = Answer::to(world.booking("k")).await;
    first.assert_fresh("201 Created");

    // Where the operator knows what came of it, the key ends with that.
    let record = store.inspect(&hold.id).await.expect("an answer");
    let Phase::Completed { outcome } = record.expect("a record").phase else {
        panic!("the run has ended")
    };
    world.pass(3660);
    world.abandon("/bookings", "k2", BOOKING).await;
    let (hold, _) = world.only_record().await;
    let ttl = Duration::from_secs(60);
    let ended = store.resolve(&hold.id, &hold.token, Resolution::Complete { outcome, ttl });
    assert_eq!(ended.await.expect("an answer"), IfOwner::Done(()));
    let again = Answer::to(world.booking("k2")).await;
    assert!(again.is_replay(), "{again:?}");
    assert_eq!(again.body, first.body);
    assert_eq!(world.probe.runs(), 0);
}

// proves: concurrent-equals-run-once, dead-owner-taken-over, check-then-claim, two-recoveries-run
#[apply(each_store)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_take_over_one_runs(backend: Backend) {
    let world = installed!(World::new(backend).await);
    world.abandon("/bookings", "k", BOOKING).await;
    world.pass(30);
    let requests: Vec<_> = (0..20).map(|_| world.send(world.booking("k"))).collect();
    for request in requests {
        let answer = request.await.expect("an answer");
        assert!([201, 409].contains(&answer.status.as_u16()), "{answer:?}");
    }
    assert_eq!(world.probe.runs(), 1);
}

// proves: lost-lease-stores-nothing, stale-owner-writes
#[apply(each_store)]
#[tokio::test]
async fn an_owner_that_lost_its_lease_cannot_store_and_gives_the_new_owners_answer(
    backend: Backend,
) {
    let world = installed!(World::new(backend).await);
    let slow = world.send(world.post("/short", "k", BOOKING));
    world.probe.started().await;
    // As if the process had been paused: time passes, and nothing is renewed.
    world.levers.renew.lose_requests(usize::MAX);
    world.pass(10);
    let taken_over = world.send(world.post("/short", "k", BOOKING));
    world.probe.started().await;
    world.probe.proceed_with(1);
    let slow = slow.await.expect("an answer");
    slow.assert_problem("in-progress", "409 Conflict", "idempotency_in_progress");
    world.probe.proceed();
    let taken_over = taken_over.await.expect("an answer");
    taken_over.assert_fresh("201 Created");
    assert_eq!(taken_over.json()["run"], 2);
    Answer::to(world.post("/short", "k", BOOKING))
        .await
        .assert_replay_of(&taken_over);
}

// proves: lost-lease-stores-nothing, stale-owner-writes
#[apply(each_store)]
#[tokio::test]
async fn an_owner_that_comes_too_late_replays_what_the_new_owner_stored(backend: Backend) {
    let world = installed!(World::new(backend).await);
    let slow = world.send(world.post("/short", "k", BOOKING));
    world.probe.started().await;
    world.levers.renew.lose_requests(usize::MAX);
    world.pass(10);
    let taken_over = world.send(world.post("/short", "k", BOOKING));
    world.probe.started().await;
    world.probe.proceed_with(2);
    let taken_over = taken_over.await.expect("an answer");
    taken_over.assert_fresh("201 Created");
    world.probe.proceed_with(1);
    slow.await.expect("an answer").assert_replay_of(&taken_over);
}
