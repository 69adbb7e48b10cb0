//! Late replies of the store, and records that it has lost.

use std::{sync::Arc, time::Duration};

use idempotency::{
    Clock, Idempotency, OnDuplicate, OnLost, Options, Rejection, Run, RunError, Scope, Store,
    store::{IfOwner, ListRequest, Resolution},
};
use tokio::{sync::oneshot, task::JoinHandle, time};

use crate::{
    RunResult, charge_with, key,
    watched::{Calls, WatchedStore, reaches},
};

/// Its thirds are whole seconds.
const OPTIONS: Options = Options::new().lease(Duration::from_secs(3));

struct World {
    idempotency: Idempotency,
    store: Arc<WatchedStore>,
    calls: Arc<Calls>,
    clock: Clock,
}

impl World {
    fn new() -> Self {
        let clock = Clock::manual();
        let (store, calls) = WatchedStore::new(&clock);
        Self {
            idempotency: Idempotency::builder(Arc::clone(&store)).build(),
            store,
            calls,
            clock,
        }
    }

    fn charge(
        &self,
        options: Options,
        work: impl Future<Output = u32> + Send + 'static,
    ) -> JoinHandle<RunResult<u32>> {
        let idempotency = self.idempotency.clone();
        tokio::spawn(
            async move { charge_with(&idempotency, &options, async { Ok(work.await) }).await },
        )
    }

    /// Lets time pass for the store and for the engine alike.
    async fn pass(&self, seconds: u64) {
        let time = Duration::from_secs(seconds);
        self.clock.advance(time);
        time::advance(time).await;
    }
}

// proves: late-reply-never-two-runs, late-reply-two-runs
#[tokio::test(start_paused = true)]
async fn a_response_that_comes_later_than_the_lease_begins_no_second_run() {
    let world = World::new();
    world.calls.held.send_replace(1);
    let late = world.charge(OPTIONS, async { panic!("the second run of two") });
    reaches(&world.calls.claims, 1).await;
    world.pass(3).await;

    let (finish, finished) = oneshot::channel();
    let (begun, has_begun) = oneshot::channel();
    let second = world.charge(OPTIONS, async move {
        begun.send(()).expect("the test waits");
        finished.await.expect("a word")
    });
    has_begun.await.expect("the second run begins");
    world.calls.held.send_replace(0);
    let refused = late.await.expect("no panic");
    assert!(
        matches!(refused, Err(RunError::Rejected(Rejection::InProgress))),
        "{refused:?}"
    );
    finish.send(2).expect("the second run waits");
    assert_eq!(second.await.expect("no panic").ok(), Some(Run::Executed(2)));
}

// proves: late-reply-never-two-runs, late-reply-two-runs
#[tokio::test(start_paused = true)]
async fn a_hold_that_was_won_late_is_renewed_before_its_run_begins() {
    for (seconds, renewals) in [(0, 0), (1, 1), (2, 1)] {
        let world = World::new();
        world.calls.held.send_replace(1);
        let run = world.charge(OPTIONS, {
            let calls = Arc::clone(&world.calls);
            async move { u32::try_from(*calls.renewals.borrow()).expect("a number") }
        });
        reaches(&world.calls.claims, 1).await;
        world.pass(seconds).await;
        world.calls.held.send_replace(0);
        let run = run.await.expect("no panic");
        assert_eq!(run.ok(), Some(Run::Executed(renewals)), "{seconds} seconds");
    }
}

/// If the store is too slow for a lease, the work does not run, and the key does not stay held.
// proves: dropped-future-loses-nothing, late-reply-never-two-runs, late-reply-two-runs
#[tokio::test(start_paused = true)]
async fn a_store_that_is_always_late_lets_nothing_run() {
    let world = World::new();
    world
        .calls
        .renewals_take
        .send_replace(Duration::from_secs(2));
    world.calls.held.send_replace(1);
    let run = world.charge(OPTIONS, async { panic!("nothing may run") });
    reaches(&world.calls.claims, 1).await;
    world.pass(1).await;
    world.calls.held.send_replace(0);
    let refused = run.await.expect("no panic");
    assert!(
        matches!(refused, Err(RunError::Rejected(Rejection::Store(_)))),
        "{refused:?}"
    );
    world.idempotency.shutdown().await;
    let records = world.store.list(&ListRequest::new(10)).await;
    assert!(records.expect("a list").is_empty());
}

// proves: lost-lease-stores-nothing, failover-forgets-writes
#[tokio::test(start_paused = true)]
async fn a_run_whose_record_the_store_has_lost_stores_its_response_again() {
    let world = World::new();
    let store = Arc::clone(&world.store);
    let run = world.charge(OPTIONS, async move {
        store.fail_over();
        1
    });
    assert_eq!(run.await.expect("no panic").ok(), Some(Run::Executed(1)));
    let again = world.charge(OPTIONS, async { panic!("it has run") });
    assert_eq!(again.await.expect("no panic").ok(), Some(Run::Replayed(1)));
}

/// The first renewal detects the loss, so that a retry during the run does not begin another one.
// proves: concurrent-equals-run-once, lost-lease-stores-nothing, failover-forgets-writes
#[tokio::test(start_paused = true)]
async fn a_run_whose_record_the_store_has_lost_takes_its_key_again() {
    let world = World::new();
    let (finish, finished) = oneshot::channel();
    let (begun, has_begun) = oneshot::channel();
    let run = world.charge(OPTIONS, async move {
        begun.send(()).expect("the test waits");
        finished.await.expect("a word")
    });
    has_begun.await.expect("the run begins");
    world.store.fail_over();
    world.pass(1).await;
    reaches(&world.calls.claims, 2).await;
    let options = OPTIONS.on_duplicate(OnDuplicate::Wait);
    let retry = world.charge(options, async { panic!("it is running") });
    reaches(&world.calls.claims, 4).await;
    finish.send(1).expect("the run waits");
    assert_eq!(run.await.expect("no panic").ok(), Some(Run::Executed(1)));
    assert_eq!(retry.await.expect("no panic").ok(), Some(Run::Replayed(1)));
}

// proves: lost-lease-stores-nothing, stale-owner-writes, failover-forgets-writes
#[tokio::test(start_paused = true)]
async fn a_run_does_not_take_again_what_another_one_has() {
    let world = World::new();
    let (store, idempotency) = (Arc::clone(&world.store), world.idempotency.clone());
    let run = world.charge(OPTIONS, async move {
        store.fail_over();
        let other = charge_with(&idempotency, &OPTIONS, async { Ok(2) }).await;
        assert_eq!(other.ok(), Some(Run::Executed(2)));
        1
    });
    assert_eq!(run.await.expect("no panic").ok(), Some(Run::Replayed(2)));
}

// proves: dead-owner-taken-over, generation-counter-restarts, interrupted-run-stuck
#[tokio::test(start_paused = true)]
async fn a_run_does_not_take_again_what_an_operator_has_released() {
    let world = World::new();
    let (finish, finished) = oneshot::channel();
    let (begun, has_begun) = oneshot::channel();
    let run = world.charge(OPTIONS, async move {
        begun.send(()).expect("the test waits");
        finished.await.expect("a word")
    });
    has_begun.await.expect("the run begins");
    let id = world.idempotency.record_id(&Scope::anonymous(), &key("k"));
    let seen = world.store.inspect(&id).await.expect("a reply");
    let seen = seen.expect("a record");
    let released = world.idempotency.resolve(&seen, Resolution::Release).await;
    assert_eq!(released.expect("a response"), IfOwner::Done(()));
    // Long after the lease, and although renewals continue, its token is still spent.
    for _ in 0..10 {
        world.pass(1).await;
    }
    finish.send(1).expect("the run waits");
    let refused = run.await.expect("no panic");
    assert!(
        matches!(
            refused,
            Err(RunError::Rejected(Rejection::ResponseUnavailable))
        ),
        "{refused:?}"
    );
    let next = world.charge(OPTIONS.on_lost(OnLost::Refuse), async { 2 });
    assert_eq!(next.await.expect("no panic").ok(), Some(Run::Executed(2)));
}

/// A lease of some seconds survives one dark connection.
// proves: hold-lives-by-renewal, deaf-store-left-quickly
#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_is_tried_again_before_the_next_third_of_the_lease() {
    let world = World::new();
    world.calls.lost_renewal.send_replace(1);
    let begun = time::Instant::now();
    let run = world.charge(Options::new().lease(Duration::from_secs(30)), {
        let calls = Arc::clone(&world.calls);
        async move {
            reaches(&calls.renewals, 2).await;
            1
        }
    });
    assert_eq!(run.await.expect("no panic").ok(), Some(Run::Executed(1)));
    // The clock advances only while every task waits: a third of the lease, and a tenth.
    assert_eq!(begun.elapsed().as_secs(), 13);
}
