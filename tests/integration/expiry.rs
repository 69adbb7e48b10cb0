//! How long an answer is replayed, and what happens afterwards.

use std::time::{Duration, SystemTime};

use rstest_reuse::apply;

use crate::{
    answer::Answer,
    backend::{Backend, each_store, installed},
    world::{BOOKING, World},
};

/// That the client of an answer which was stored between these times is told that it is kept for so many seconds. A date
/// has whole ones.
#[track_caller]
fn assert_kept_for(answer: &Answer, seconds: u64, earliest: SystemTime, latest: SystemTime) {
    let told = answer.header("idempotency-expires").expect("a date");
    let told = httpdate::parse_http_date(told).expect("an HTTP date");
    let ttl = Duration::from_secs(seconds);
    assert!(told + Duration::from_secs(1) > earliest + ttl, "{answer:?}");
    assert!(told <= latest + ttl, "{answer:?}");
}

// proves: replayed-until-ttl, expired-key-is-new, replay-never-extends-ttl
#[apply(each_store)]
#[tokio::test]
async fn an_answer_is_replayed_until_its_ttl_and_the_grace_are_over(backend: Backend) {
    let world = installed!(World::new(backend).await);
    let first = Answer::to(world.booking("k")).await;
    let rest = world.pass_nearly(3660);
    // A replay does not make it live longer.
    Answer::to(world.booking("k"))
        .await
        .assert_replay_of(&first);
    world.time.pass(rest);
    let after = Answer::to(world.post("/bookings", "k", "{}")).await;
    after.assert_fresh("201 Created");
    assert_eq!(after.json()["run"], 2);
    Answer::to(world.post("/bookings", "k", "{}"))
        .await
        .assert_replay_of(&after);
}

// proves: replayed-until-ttl, forgotten-before-retries-stop
#[apply(each_store)]
#[tokio::test]
async fn without_a_ttl_an_answer_is_replayed_for_a_day(backend: Backend) {
    let world = installed!(World::new(backend).await);
    const DAY: u64 = 24 * 60 * 60;
    let request = || world.post("/required", "k", BOOKING);
    let before = world.time.now();
    let first = Answer::to(request()).await;
    assert_kept_for(&first, DAY, before, world.time.now());
    let rest = world.pass_nearly(DAY + 60);
    Answer::to(request()).await.assert_replay_of(&first);
    world.time.pass(rest);
    Answer::to(request()).await.assert_fresh("201 Created");
}

// proves: expired-key-is-new, check-then-claim, expiry-removes-successor
#[apply(each_store)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_expiry_one_of_many_runs(backend: Backend) {
    let world = installed!(World::new(backend).await);
    Answer::to(world.booking("k"))
        .await
        .assert_fresh("201 Created");
    world.pass(3660);
    let requests: Vec<_> = (0..20).map(|_| world.send(world.booking("k"))).collect();
    let mut fresh = 0;
    for request in requests {
        let answer = request.await.expect("an answer");
        match answer.status.as_u16() {
            201 => fresh += usize::from(!answer.is_replay()),
            409 => answer.assert_problem("in-progress", "409 Conflict", "idempotency_in_progress"),
            _ => panic!("{answer:?}"),
        }
    }
    assert_eq!((fresh, world.probe.runs()), (1, 2));
}

// proves: last-second-replayed, record-gone-last-second
#[apply(each_store)]
#[tokio::test]
async fn a_retry_that_comes_after_the_announced_end_is_replayed_for_a_minute(backend: Backend) {
    let world = installed!(World::new(backend).await);
    let before = world.time.now();
    let first = Answer::to(world.booking("k")).await;
    assert_kept_for(&first, 3600, before, world.time.now());
    world.pass(3600);
    let late = Answer::to(world.booking("k")).await;
    late.assert_replay_of(&first);
    assert_eq!(
        late.header("idempotency-expires"),
        first.header("idempotency-expires")
    );
    assert_eq!(world.probe.runs(), 1);
}

// proves: ttl-counts-from-completion
#[apply(each_store)]
#[tokio::test]
async fn the_ttl_counts_from_completion(backend: Backend) {
    let world = installed!(World::new(backend).await);
    let running = world.send(world.post("/stop", "k", BOOKING));
    world.probe.started().await;
    world.pass(20);
    world.probe.proceed();
    let first = running.await.expect("an answer");
    first.assert_fresh("201 Created");
    world.pass_nearly(3600);
    Answer::to(world.post("/stop", "k", BOOKING))
        .await
        .assert_replay_of(&first);
}

// proves: replayed-until-ttl
#[apply(each_store)]
#[tokio::test]
async fn the_client_is_told_until_when(backend: Backend) {
    let world = installed!(World::new(backend).await);
    let before = world.time.now();
    let first = Answer::to(world.booking("k")).await;
    assert_kept_for(&first, 3600, before, world.time.now());
    world.pass(60);
    let again = Answer::to(world.booking("k")).await;
    assert_eq!(
        again.header("idempotency-expires"),
        first.header("idempotency-expires")
    );
}

// proves: client-clock-irrelevant
#[apply(each_store)]
#[tokio::test]
async fn the_clients_clock_does_not_matter(backend: Backend) {
    let world = installed!(World::new(backend).await);
    let request = |date: &'static str| {
        world
            .booking("k")
            .header("date", date)
            .header("repeatability-first-sent", date)
    };
    let first = Answer::to(request("Sun, 06 Nov 1994 08:49:37 GMT")).await;
    first.assert_fresh("201 Created");
    Answer::to(request("Tue, 01 Jan 2090 00:00:00 GMT"))
        .await
        .assert_replay_of(&first);
}

// proves: sweep-removes-only-expired, crash-locks-for-ttl, sweep-deletes-wrong-key
#[apply(each_store)]
#[tokio::test]
async fn a_sweep_removes_what_is_expired_and_nothing_else(backend: Backend) {
    let world = installed!(World::new(backend).await);
    for key in ["old-1", "old-2", "old-3"] {
        Answer::to(world.booking(key))
            .await
            .assert_fresh("201 Created");
    }
    // Firestore keeps documents for an hour longer.
    world.pass(7260);
    Answer::to(world.booking("young"))
        .await
        .assert_fresh("201 Created");
    let running = world.send(world.post("/stop", "running", BOOKING));
    world.probe.started().await;
    world.pass(60);

    let store = world.idempotency.store();
    let sweeps = [
        store.purge_expired(2).await.expect("a sweep"),
        store.purge_expired(100).await.expect("a sweep"),
        store.purge_expired(100).await.expect("a sweep"),
    ];
    match backend {
        // It removes what is expired by itself.
        Backend::Redis => assert_eq!(sweeps, [0, 0, 0]),
        _ => assert_eq!(sweeps, [2, 1, 0]),
    }
    assert!(Answer::to(world.booking("young")).await.is_replay());
    Answer::to(world.booking("old-1"))
        .await
        .assert_fresh("201 Created");
    // The run is past its lease, but it is nobody else's yet.
    world.probe.proceed();
    running
        .await
        .expect("an answer")
        .assert_fresh("201 Created");
    assert!(
        Answer::to(world.post("/stop", "running", BOOKING))
            .await
            .is_replay()
    );
}

// proves: sweep-removes-only-expired
#[apply(each_store)]
#[tokio::test]
async fn the_sweep_runs_by_itself(backend: Backend) {
    let world = World::configured(backend, |builder| {
        builder.with_sweep_every(Duration::from_millis(10))
    });
    let world = installed!(world.await);
    let store = world.idempotency.store();
    Answer::to(world.booking("k"))
        .await
        .assert_fresh("201 Created");
    world.pass(7260);
    // The next one to end may have begun before.
    let sweeps = world.levers.purge.calls();
    world.levers.purge.called(sweeps + 2).await;
    assert_eq!(store.purge_expired(10).await.expect("a sweep"), 0);
}
