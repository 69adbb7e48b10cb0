//! Duplicates that meet while the first request runs.

use std::time::Duration;

use rstest_reuse::apply;

use crate::{
    answer::Answer,
    backend::{Backend, each_store, installed},
    world::{BOOKING, World},
};

// proves: running-duplicate-gets-409, retry-after-is-short
#[apply(each_store)]
#[tokio::test]
async fn a_duplicate_is_told_to_come_back(backend: Backend) {
    let world = installed!(World::new(backend).await);
    let running = world.send(world.post("/stop", "k", BOOKING));
    world.probe.started().await;
    for _ in 0..3 {
        let duplicate = Answer::to(world.post("/stop", "k", BOOKING)).await;
        duplicate.assert_problem("in-progress", "409 Conflict", "idempotency_in_progress");
        let seconds: u64 = duplicate
            .header("retry-after")
            .expect("seconds")
            .parse()
            .expect("a number");
        assert!((1..=3600).contains(&seconds));
    }
    world.probe.proceed();
    let first = running.await.expect("an answer");
    first.assert_fresh("201 Created");
    Answer::to(world.post("/stop", "k", BOOKING))
        .await
        .assert_replay_of(&first);
    assert_eq!(world.probe.runs(), 1);
}

// proves: state-decides-response, mismatch-refused-while-running, mismatch-gets-409
#[apply(each_store)]
#[tokio::test]
async fn another_request_is_refused_even_while_the_first_one_runs(backend: Backend) {
    let world = installed!(World::new(backend).await);
    let running = world.send(world.post("/stop", "k", BOOKING));
    world.probe.started().await;
    let other = Answer::to(world.post("/stop", "k", "{}")).await;
    other.assert_problem(
        "key-reused",
        "422 Unprocessable Entity",
        "idempotency_key_reused",
    );
    // Nor does it wait to hear that.
    let patient = world.post("/stop", "k", "{}").header("prefer", "wait=60");
    let other = Answer::to(patient).await;
    other.assert_problem(
        "key-reused",
        "422 Unprocessable Entity",
        "idempotency_key_reused",
    );
    world.probe.proceed();
    running
        .await
        .expect("an answer")
        .assert_fresh("201 Created");
}

// proves: one-atomic-claim, concurrent-equals-run-once, check-then-claim
// proves: loser-refused-not-replayed, lost-claim-as-outage
#[apply(each_store)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_equal_requests_one_runs(backend: Backend) {
    let world = installed!(World::new(backend).await);
    let requests: Vec<_> = (0..50).map(|_| world.send(world.booking("k"))).collect();
    let (mut fresh, mut replayed, mut refused) = (0, 0, 0);
    for request in requests {
        let answer = request.await.expect("an answer");
        match answer.status.as_u16() {
            201 if answer.is_replay() => replayed += 1,
            201 => fresh += 1,
            _ => {
                answer.assert_problem("in-progress", "409 Conflict", "idempotency_in_progress");
                refused += 1;
            }
        }
    }
    assert_eq!((fresh, replayed + refused, world.probe.runs()), (1, 49, 1));
    assert!(Answer::to(world.booking("k")).await.is_replay());
}

// proves: different-keys-all-run
#[apply(each_store)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn equal_bodies_under_different_keys_all_run(backend: Backend) {
    let world = installed!(World::new(backend).await);
    let requests: Vec<_> = (0..50)
        .map(|key| world.send(world.booking(&key.to_string())))
        .collect();
    for request in requests {
        request
            .await
            .expect("an answer")
            .assert_fresh("201 Created");
    }
    assert_eq!(world.probe.runs(), 50);
}

// proves: duplicate-may-wait, only-replays-marked
#[apply(each_store)]
#[tokio::test]
async fn duplicates_that_wait_get_the_answer(backend: Backend) {
    let world = installed!(World::new(backend).await);
    let running = world.send(world.post("/stop/wait", "k", BOOKING));
    world.probe.started().await;
    let waiting: Vec<_> = (0..10)
        .map(|_| world.send(world.post("/stop/wait", "k", BOOKING)))
        .collect();
    // Each of them has looked twice when it listens: once, and again after it began to listen.
    world.levers.claim.called(1 + 10 * 2).await;
    world.probe.proceed();
    let first = running.await.expect("an answer");
    first.assert_fresh("201 Created");
    for waiter in waiting {
        waiter.await.expect("an answer").assert_replay_of(&first);
    }
    assert_eq!(world.probe.runs(), 1);
}

// proves: duplicate-may-wait
#[apply(each_store)]
#[tokio::test]
async fn a_client_can_ask_to_wait_and_not_to(backend: Backend) {
    let world = installed!(World::new(backend).await);
    let running = world.send(world.post("/stop", "k", BOOKING));
    world.probe.started().await;
    let patient = world
        .post("/stop", "k", BOOKING)
        .header("prefer", "respond-async; x=1, wait=60");
    let patient = world.send(patient);
    world.levers.claim.called(3).await;
    let hasty = Answer::to(world.post("/stop", "k", BOOKING)).await;
    hasty.assert_problem("in-progress", "409 Conflict", "idempotency_in_progress");
    world.probe.proceed();
    let first = running.await.expect("an answer");
    patient.await.expect("an answer").assert_replay_of(&first);

    let running = world.send(world.post("/stop/wait", "k2", BOOKING));
    world.probe.started().await;
    let hasty = world
        .post("/stop/wait", "k2", BOOKING)
        .header("prefer", "wait=0");
    Answer::to(hasty).await.assert_problem(
        "in-progress",
        "409 Conflict",
        "idempotency_in_progress",
    );
    world.probe.proceed();
    running
        .await
        .expect("an answer")
        .assert_fresh("201 Created");
}

// proves: duplicate-may-wait, waiter-ends-hold
#[apply(each_store)]
#[tokio::test]
async fn a_waiter_whose_time_is_up_leaves_the_owner_alone(backend: Backend) {
    let world = installed!(World::new(backend).await);
    let running = world.send(world.post("/stop", "k", BOOKING));
    world.probe.started().await;
    let waiter = Answer::to(world.post("/stop", "k", BOOKING).header("prefer", "wait=1")).await;
    waiter.assert_problem("in-progress", "409 Conflict", "idempotency_in_progress");
    assert_eq!(world.levers.release.calls(), 0);
    world.probe.proceed();
    let first = running.await.expect("an answer");
    first.assert_fresh("201 Created");
    Answer::to(world.post("/stop", "k", BOOKING))
        .await
        .assert_replay_of(&first);
}

// proves: duplicate-may-wait
#[apply(each_store)]
#[tokio::test]
async fn when_the_owner_gives_up_one_waiter_runs_and_the_others_go_on_waiting(backend: Backend) {
    let world = installed!(World::new(backend).await);
    let owner = world.send(world.post("/stop/fail-once", "k", BOOKING));
    world.probe.started().await;
    let waiting: Vec<_> = (0..5)
        .map(|_| world.send(world.post("/stop/fail-once", "k", BOOKING)))
        .collect();
    world.levers.claim.called(1 + 5 * 2).await;
    world.probe.proceed();
    owner
        .await
        .expect("an answer")
        .assert_fresh("500 Internal Server Error");
    world.probe.started().await;
    world.probe.proceed();
    let mut fresh = 0;
    for waiter in waiting {
        let answer = waiter.await.expect("an answer");
        assert_eq!(answer.status(), "201 Created");
        assert_eq!(answer.json()["run"], 2);
        fresh += usize::from(!answer.is_replay());
    }
    assert_eq!((fresh, world.probe.runs()), (1, 2));
}

// proves: duplicate-may-wait, lost-wakeup-hangs-waiter
#[apply(each_store)]
#[tokio::test]
async fn a_waiter_takes_over_when_the_owner_does_not_come_back(backend: Backend) {
    let world = installed!(World::new(backend).await);
    world.abandon("/bookings", "k", BOOKING).await;
    let claims = world.levers.claim.calls();
    let waiter = world.send(world.booking("k").header("prefer", "wait=60"));
    world.levers.claim.called(claims + 2).await;
    world.pass(30);
    let answer = waiter.await.expect("an answer");
    answer.assert_fresh("201 Created");
    assert_eq!(world.probe.runs(), 1);
}

// proves: hold-lives-by-renewal, live-owner-replaced, run-outlives-lease, renewal-stops-early
#[apply(each_store)]
#[tokio::test]
async fn a_run_longer_than_its_lease_keeps_its_key(backend: Backend) {
    let world = installed!(World::new(backend).await);
    let running = world.send(world.post("/three-seconds", "k", BOOKING));
    world.probe.started().await;
    // The lease is three seconds of the store's clock, and renewed by the engine's timer.
    for _ in 0..2 {
        let renewals = world.levers.renew.calls();
        world.time.pass(Duration::from_millis(2500));
        world.levers.renew.called(renewals + 2).await;
        let duplicate = Answer::to(world.post("/three-seconds", "k", BOOKING)).await;
        duplicate.assert_problem("in-progress", "409 Conflict", "idempotency_in_progress");
    }
    world.probe.proceed();
    running
        .await
        .expect("an answer")
        .assert_fresh("201 Created");
    assert_eq!(world.probe.runs(), 1);
}

// proves: hold-lives-by-renewal, run-outlives-lease
#[apply(each_store)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_blocks_its_thread_keeps_its_key(backend: Backend) {
    let world = installed!(World::new(backend).await);
    let running = world.send(world.post("/blocking", "k", BOOKING));
    world.probe.started().await;
    world.levers.renew.called(2).await;
    world.probe.unblock();
    running
        .await
        .expect("an answer")
        .assert_fresh("201 Created");
}

// proves: one-atomic-claim, failures-free-key, record-vanishes-after-claim, lost-claim-as-outage
#[apply(each_store)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duplicates_of_runs_that_end_with_nothing_run_or_are_told_to_come_back(backend: Backend) {
    let world = installed!(World::new(backend).await);
    let requests: Vec<_> = (0..100)
        .map(|_| world.send(world.post("/script", "k", r#"{"status":500}"#)))
        .collect();
    let mut ran = 0;
    for request in requests {
        let answer = request.await.expect("an answer");
        match answer.status.as_u16() {
            500 => ran += 1,
            _ => answer.assert_problem("in-progress", "409 Conflict", "idempotency_in_progress"),
        }
    }
    assert_eq!((world.probe.runs(), world.records().await), (ran, 0));
}

// proves: duplicate-may-wait, waiters-exhaust-pool
#[apply(each_store)]
#[tokio::test]
async fn those_who_wait_are_in_nobodys_way(backend: Backend) {
    let world = installed!(World::new(backend).await);
    let running = world.send(world.post("/stop/wait", "k", BOOKING));
    world.probe.started().await;
    let waiting: Vec<_> = (0..100)
        .map(|_| world.send(world.post("/stop/wait", "k", BOOKING)))
        .collect();
    world.levers.claim.called(1 + 100 * 2).await;
    Answer::to(world.booking("another"))
        .await
        .assert_fresh("201 Created");
    world.probe.proceed();
    let first = running.await.expect("an answer");
    for waiter in waiting {
        waiter.await.expect("an answer").assert_replay_of(&first);
    }
    assert_eq!(world.probe.runs(), 2);
}
