//! Concurrent calls with the same key.

use std::sync::Arc;

use idempotency::{
    Clock, Idempotency, OnDuplicate, Options, Rejection, Run, RunError, Scope, Store,
    store::{IfOwner, Phase, Resolution},
};
use tokio::{sync::oneshot, time::Instant};

use crate::{
    RunResult, charge, charge_with, key, refund,
    watched::{WatchedStore, reaches},
};

// proves: state-decides-response, running-duplicate-gets-409, mismatch-refused-while-running
// proves: mismatch-gets-409
#[tokio::test]
async fn a_duplicate_of_running_work_is_refused() {
    let (store, _) = WatchedStore::new(&Clock::manual());
    let idempotency = Idempotency::builder(store).build();
    let running = start(&idempotency, 1).await;
    let duplicate: RunResult<u32> = charge(&idempotency, async { Ok(2) }).await;
    assert!(matches!(
        duplicate,
        Err(RunError::Rejected(Rejection::InProgress))
    ));
    let other = refund(&idempotency, 3).await;
    assert!(matches!(other, Err(RunError::Rejected(Rejection::Reused))));
    assert_eq!(running.finish().await.expect("a value"), Run::Executed(1));
}

// proves: duplicate-may-wait
#[tokio::test]
async fn a_duplicate_that_waits_gets_the_value() {
    let (store, calls) = WatchedStore::new(&Clock::manual());
    let idempotency = Idempotency::builder(store).build();
    let running = start(&idempotency, 1).await;
    let waiting = tokio::spawn({
        let idempotency = idempotency.clone();
        let options = Options::new().on_duplicate(OnDuplicate::Wait);
        async move { charge_with(&idempotency, &options, async { Ok(2) }).await }
    });
    // Once it listens, it has read the record a second time.
    reaches(&calls.claims, 3).await;
    assert_eq!(running.finish().await.expect("a value"), Run::Executed(1));
    let waited = waiting.await.expect("no panic");
    assert_eq!(waited.expect("a value"), Run::Replayed(1));
}

// proves: duplicate-may-wait, lost-wakeup-hangs-waiter
#[tokio::test(start_paused = true)]
async fn an_end_between_the_last_poll_and_the_wait_is_not_missed() {
    let (store, calls) = WatchedStore::new(&Clock::manual());
    let idempotency = Idempotency::builder(store).build();
    let running = start(&idempotency, 1).await;
    calls.held.send_replace(3);
    let waiting = tokio::spawn({
        let idempotency = idempotency.clone();
        let options = Options::new().on_duplicate(OnDuplicate::Wait);
        async move { charge_with(&idempotency, &options, async { Ok(2) }).await }
    });
    // The duplicate has read a second time. The reply says that the work is running, which is no longer true.
    reaches(&calls.claims, 3).await;
    let before = Instant::now();
    assert_eq!(running.finish().await.expect("a value"), Run::Executed(1));
    calls.held.send_replace(0);
    let waited = waiting.await.expect("no panic");
    assert_eq!(waited.expect("a value"), Run::Replayed(1));
    // This clock advances only while every task sleeps, and none has.
    assert_eq!(Instant::now(), before);
}

// proves: duplicate-may-wait, waiter-ends-hold
#[tokio::test(start_paused = true)]
async fn a_duplicate_does_not_wait_for_ever() {
    let (store, _) = WatchedStore::new(&Clock::manual());
    let idempotency = Idempotency::builder(store).build();
    let running = start(&idempotency, 1).await;
    let options = Options::new().on_duplicate(OnDuplicate::Wait);
    let waited: RunResult<u32> = charge_with(&idempotency, &options, async { Ok(2) }).await;
    assert!(matches!(
        waited,
        Err(RunError::Rejected(Rejection::InProgress))
    ));
    assert_eq!(running.finish().await.expect("a value"), Run::Executed(1));
}

// proves: run-survives-client-leaving, client-leaves-response-lost
#[tokio::test]
async fn work_goes_on_when_its_caller_has_gone() {
    let (store, calls) = WatchedStore::new(&Clock::manual());
    let idempotency = Idempotency::builder(store).build();
    let Running { call, go_on } = start(&idempotency, 1).await;
    call.abort();
    assert!(call.await.is_err());
    let waiting = tokio::spawn({
        let idempotency = idempotency.clone();
        let options = Options::new().on_duplicate(OnDuplicate::Wait);
        async move { charge_with(&idempotency, &options, async { Ok(2) }).await }
    });
    reaches(&calls.claims, 3).await;
    go_on.send(()).expect("the work waits");
    let waited = waiting.await.expect("no panic");
    assert_eq!(waited.expect("a value"), Run::Replayed(1));
}

// proves: lost-lease-stores-nothing, stale-owner-writes, generation-counter-restarts
// proves: interrupted-run-stuck
#[tokio::test]
async fn an_operator_can_free_a_key_and_its_owner_can_store_nothing_any_more() {
    let (store, _) = WatchedStore::new(&Clock::manual());
    let idempotency = Idempotency::builder(Arc::clone(&store)).build();
    let id = idempotency.record_id(&Scope::anonymous(), &key("k"));
    let stuck = start(&idempotency, 1).await;
    let seen = store.inspect(&id).await.expect("a reply");
    let seen = seen.expect("a record").token;
    let freed = store.resolve(&id, &seen, Resolution::Release).await;
    assert!(matches!(freed, Ok(IfOwner::Done(()))));
    // The new record counts its attempts from 1 again; only the token tells the two owners apart.
    let next = start(&idempotency, 2).await;
    let again = store.resolve(&id, &seen, Resolution::Release).await;
    assert!(matches!(again, Ok(IfOwner::NotOwner)));
    assert!(matches!(
        stuck.finish().await,
        Err(RunError::Rejected(Rejection::InProgress))
    ));
    assert_eq!(next.finish().await.expect("a value"), Run::Executed(2));
    let again = charge(&idempotency, async { Ok(3) }).await;
    assert_eq!(again.expect("a value"), Run::Replayed(2));
}

// proves: other-body-refused, lost-lease-stores-nothing, stale-owner-writes
#[tokio::test]
async fn an_owner_that_lost_its_key_to_another_request_does_not_send_that_ones_response() {
    let (store, _) = WatchedStore::new(&Clock::manual());
    let idempotency = Idempotency::builder(Arc::clone(&store)).build();
    let id = idempotency.record_id(&Scope::anonymous(), &key("k"));
    let stuck = start(&idempotency, 1).await;
    let seen = store.inspect(&id).await.expect("a reply");
    let seen = seen.expect("a record").token;
    let freed = store.resolve(&id, &seen, Resolution::Release).await;
    assert!(matches!(freed, Ok(IfOwner::Done(()))));
    let other = refund(&idempotency, 2).await;
    assert_eq!(other.expect("a value"), Run::Executed(2));
    assert!(matches!(
        stuck.finish().await,
        Err(RunError::Rejected(Rejection::Reused))
    ));
}

// proves: failed-completion-keeps-key, interrupted-run-stuck, lock-and-response-share-name
#[tokio::test]
async fn an_operator_cannot_end_what_has_ended() {
    let (store, _) = WatchedStore::new(&Clock::manual());
    let idempotency = Idempotency::builder(Arc::clone(&store)).build();
    let id = idempotency.record_id(&Scope::anonymous(), &key("k"));
    let first = charge(&idempotency, async { Ok(1) }).await;
    assert_eq!(first.expect("a value"), Run::Executed(1));
    let record = store.inspect(&id).await.expect("a reply");
    let record = record.expect("a record");
    assert!(matches!(record.phase, Phase::Completed { .. }));
    let freed = store.resolve(&id, &record.token, Resolution::Release).await;
    assert!(matches!(freed, Ok(IfOwner::NotOwner)));
    let again = charge(&idempotency, async { Ok(2) }).await;
    assert_eq!(again.expect("a value"), Run::Replayed(1));
}

/// Work that has begun and waits for a signal.
struct Running {
    call: tokio::task::JoinHandle<RunResult<u32>>,
    go_on: oneshot::Sender<()>,
}

async fn start(idempotency: &Idempotency, value: u32) -> Running {
    let (begun, has_begun) = oneshot::channel();
    let (go_on, may_go_on) = oneshot::channel();
    let work = async move {
        begun.send(()).expect("the test waits");
        may_go_on.await.expect("a word");
        Ok(value)
    };
    let idempotency = idempotency.clone();
    let call = tokio::spawn(async move { charge(&idempotency, work).await });
    has_begun.await.expect("the work begins");
    Running { call, go_on }
}

impl Running {
    async fn finish(self) -> RunResult<u32> {
        self.go_on.send(()).expect("the work waits");
        self.call.await.expect("no panic")
    }
}
