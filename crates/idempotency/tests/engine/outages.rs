//! Stores that are down or panic, runs whose keys are taken over meanwhile, and tasks that are not polled for too long.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use idempotency::{
    Clock, Idempotency, OnLost, Options, Rejection, Run, RunError, Scope, Store,
    store::{Claim, ClaimRequest, Hold, IfOwner, Resolution, Token},
};
use serde::{Deserialize, Serialize, Serializer};
use tokio::sync::oneshot;

use crate::{
    Failed, RunResult, begun_charge, charge, charge_with, flaky::FlakyStore, key,
    watched::WatchedStore,
};

async fn poll_once<F: Future + Unpin>(future: &mut F) -> bool {
    poll_fn(|context| Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_ready())).await
}

// proves: shutdown-waits-for-runs, dropped-future-loses-nothing
#[tokio::test]
async fn a_shutdown_waits_for_a_claim_that_was_dropped() {
    let (store, calls) = WatchedStore::new(&Clock::manual());
    let idempotency = Idempotency::builder(store).build();
    calls.held.send_replace(1);
    let options = Options::new();
    let mut claiming: std::pin::Pin<Box<dyn Future<Output = RunResult<u32>> + Send>> =
        Box::pin(charge_with(&idempotency, &options, async { Ok(1) }));
    assert!(!poll_once(&mut claiming).await);
    assert_eq!(*calls.claims.borrow(), 1);
    drop(claiming);
    let mut shutdown = Box::pin(idempotency.shutdown());
    assert!(!poll_once(&mut shutdown).await, "a claim is under way");
}

// proves: dead-owner-taken-over, generation-counter-restarts, interrupted-run-stuck
#[tokio::test(start_paused = true)]
async fn a_run_does_not_reclaim_its_key_after_an_operators_release_and_a_failed_run() {
    let clock = Clock::manual();
    let (store, _calls) = WatchedStore::new(&clock);
    let idempotency = Idempotency::builder(Arc::clone(&store)).build();
    let (run, finish) = begun_charge(&idempotency).await;
    let id = idempotency.record_id(&Scope::anonymous(), &key("k"));
    let seen = store
        .inspect(&id)
        .await
        .expect("a reply")
        .expect("a record");
    let released = idempotency.resolve(&seen, Resolution::Release).await;
    assert_eq!(released.expect("a response"), IfOwner::Done(()));
    // Long enough for the heartbeat to learn that the run is lost.
    clock.advance(Duration::from_secs(11));
    tokio::time::sleep(Duration::from_secs(11)).await;
    let failed: RunResult<u32> = charge(&idempotency, async { Err(Failed) }).await;
    assert!(matches!(failed, Err(RunError::Failed(Failed))));
    finish.send(()).expect("it waits");
    let run = run.await.expect("no panic");
    assert!(
        matches!(run, Err(RunError::Rejected(Rejection::ResponseUnavailable))),
        "{run:?}"
    );
}

#[derive(Debug, Deserialize, PartialEq)]
struct Unwritable;

impl Serialize for Unwritable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        panic!("a bug of the application's")
    }
}

// proves: oversized-response-leaves-tombstone
#[tokio::test(start_paused = true)]
async fn a_value_whose_serialization_panics_does_not_run_again() {
    let clock = Clock::manual();
    let (store, _) = WatchedStore::new(&clock);
    let idempotency = Idempotency::builder(store).build();
    let runs = Arc::new(AtomicUsize::new(0));
    for _ in 0..2 {
        let runs = Arc::clone(&runs);
        let called: RunResult<Unwritable> = charge(&idempotency, async move {
            runs.fetch_add(1, Ordering::SeqCst);
            Ok(Unwritable)
        })
        .await;
        drop(called);
        clock.advance(Duration::from_secs(31));
    }
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

// proves: dead-owner-taken-over, deaf-store-left-quickly, interrupted-run-stuck
#[tokio::test(start_paused = true)]
async fn an_outage_of_two_minutes_after_a_claim_makes_nothing_unknown() {
    let clock = Clock::manual();
    let store = FlakyStore::new(&clock);
    let idempotency = Idempotency::builder(Arc::clone(&store)).build();
    let options = Options::new().on_lost(OnLost::Refuse);
    store.dies_behind_claim.store(true, Ordering::SeqCst);
    let refused: RunResult<u32> = charge_with(&idempotency, &options, async { Ok(1) }).await;
    assert!(matches!(
        refused,
        Err(RunError::Rejected(Rejection::Store(_)))
    ));
    tokio::time::sleep(Duration::from_secs(120)).await;
    clock.advance(Duration::from_secs(120));
    store.down.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(120)).await;
    let next = charge_with(&idempotency, &options, async { Ok(2) }).await;
    assert_eq!(next.expect("nothing has run"), Run::Executed(2));
}

// proves: failed-completion-keeps-key, dropped-future-loses-nothing, failed-completion-frees-key
#[tokio::test(start_paused = true)]
async fn a_withdrawal_does_not_take_the_key_from_a_run_that_recovers() {
    for with_retry in [false, true] {
        let clock = Clock::manual();
        let store = FlakyStore::new(&clock);
        let idempotency = Idempotency::builder(Arc::clone(&store)).build();
        let other = Idempotency::builder(Arc::clone(&store)).build();
        let runs = Arc::new(AtomicUsize::new(0));
        let (finish, finished) = oneshot::channel::<()>();
        let (begun, has_begun) = oneshot::channel();
        let run = tokio::spawn({
            let (idempotency, runs) = (idempotency.clone(), Arc::clone(&runs));
            async move {
                charge(&idempotency, async move {
                    runs.fetch_add(1, Ordering::SeqCst);
                    begun.send(()).expect("the test waits");
                    finished.await.expect("a word");
                    Ok(1)
                })
                .await
            }
        });
        has_begun.await.expect("it begins");
        store.down.store(true, Ordering::SeqCst);
        let pass = async |seconds| {
            clock.advance(Duration::from_secs(seconds));
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        };
        // The run ends during the outage, and its client has its response.
        pass(5).await;
        finish.send(()).expect("it waits");
        assert_eq!(run.await.expect("no panic").ok(), Some(Run::Executed(1)));
        pass(19).await;
        if with_retry {
            let refused: RunResult<u32> = charge(&other, async { Ok(2) }).await;
            assert!(matches!(
                refused,
                Err(RunError::Rejected(Rejection::Store(_)))
            ));
        }
        pass(6).await;
        store.down.store(false, Ordering::SeqCst);
        // No call is made in this time.
        pass(10).await;
        let next = charge(&other, async { Ok(2) }).await;
        assert_eq!(
            next.ok(),
            Some(Run::Replayed(1)),
            "with retry: {with_retry}"
        );
    }
}

// proves: failed-completion-keeps-key, dropped-future-loses-nothing, failed-completion-frees-key
#[tokio::test(start_paused = true)]
async fn a_withdrawal_does_not_end_a_run_that_goes_on() {
    let clock = Clock::manual();
    let store = FlakyStore::new(&clock);
    let idempotency = Idempotency::builder(Arc::clone(&store)).build();
    let other = Idempotency::builder(Arc::clone(&store)).build();
    let (run, finish) = begun_charge(&idempotency).await;
    let pass = async |seconds| {
        clock.advance(Duration::from_secs(seconds));
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    };
    store.down.store(true, Ordering::SeqCst);
    pass(29).await;
    let refused: RunResult<u32> = charge(&other, async { Ok(2) }).await;
    assert!(matches!(
        refused,
        Err(RunError::Rejected(Rejection::Store(_)))
    ));
    pass(2).await;
    store.down.store(false, Ordering::SeqCst);
    pass(15).await;
    finish.send(()).expect("it waits");
    let run = run.await.expect("no panic");
    assert_eq!(run.ok(), Some(Run::Executed(1)));
    let next = charge(&other, async { Ok(2) }).await;
    assert_eq!(next.ok(), Some(Run::Replayed(1)));
}

// proves: dead-owner-taken-over, generation-counter-restarts, interrupted-run-stuck
#[tokio::test(start_paused = true)]
async fn an_operators_release_spends_the_token_of_the_owner_before_a_withdrawn_claim() {
    let clock = Clock::manual();
    let store = FlakyStore::new(&clock);
    let idempotency = Idempotency::builder(Arc::clone(&store)).build();
    let (run, finish) = begun_charge(&idempotency).await;
    clock.advance(Duration::from_secs(31));
    let id = idempotency.record_id(&Scope::anonymous(), &key("k"));
    let seen = store
        .inner
        .inspect(&id)
        .await
        .expect("a reply")
        .expect("a record");
    let retry = Hold::new(
        id,
        Token::random(),
        Duration::from_secs(30),
        Duration::from_secs(3600),
    );
    let withdrawn = store.inner.withdraw(&retry, &seen.fingerprint).await;
    withdrawn.expect("a response");
    let seen = store
        .inner
        .inspect(&id)
        .await
        .expect("a reply")
        .expect("a record");
    let released = idempotency.resolve(&seen, Resolution::Release).await;
    assert_eq!(released.expect("a response"), IfOwner::Done(()));
    finish.send(()).expect("it waits");
    let run = run.await.expect("no panic");
    assert!(
        matches!(run, Err(RunError::Rejected(Rejection::ResponseUnavailable))),
        "{run:?}"
    );
}

// proves: dropped-future-loses-nothing, late-claim-holds-key
#[tokio::test(start_paused = true)]
async fn a_claim_that_panics_is_withdrawn() {
    let clock = Clock::manual();
    let store = FlakyStore::new(&clock);
    let idempotency = Idempotency::builder(Arc::clone(&store)).build();
    store.panics.store(true, Ordering::SeqCst);
    let panicked = tokio::spawn({
        let idempotency = idempotency.clone();
        async move { charge(&idempotency, async { Ok(1) }).await }
    });
    assert!(panicked.await.is_err());
    tokio::time::sleep(Duration::from_secs(60)).await;
    let next = charge(&idempotency, async { Ok(2) }).await;
    assert_eq!(next.expect("nothing has run"), Run::Executed(2));
}

// proves: late-reply-never-two-runs, late-reply-two-runs
#[tokio::test]
async fn a_run_does_not_begin_under_a_lease_that_expired_while_its_task_was_not_polled() {
    let clock = Clock::manual();
    let store = FlakyStore::new(&clock);
    let idempotency = Idempotency::builder(Arc::clone(&store)).build();
    let options = Options::new().lease(Duration::from_secs(3));
    let runs = Arc::new(AtomicUsize::new(0));
    let first = tokio::spawn({
        let (idempotency, runs) = (idempotency.clone(), Arc::clone(&runs));
        async move {
            let work = async move {
                runs.fetch_add(1, Ordering::SeqCst);
                Ok(1)
            };
            charge_with(&idempotency, &options, work).await
        }
    });
    let blocking = tokio::spawn({
        let (idempotency, store) = (idempotency.clone(), Arc::clone(&store));
        async move {
            let id = idempotency.record_id(&Scope::anonymous(), &key("k"));
            let work = async move {
                std::thread::sleep(Duration::from_millis(3100));
                clock.advance(Duration::from_millis(3100));
                // Another process takes over the other key, and begins.
                let seen = store
                    .inner
                    .inspect(&id)
                    .await
                    .expect("a reply")
                    .expect("a record");
                let hold = Hold::new(
                    id,
                    Token::random(),
                    Duration::from_secs(3),
                    Duration::from_secs(60),
                );
                let claim = store
                    .inner
                    .claim(ClaimRequest::new(
                        &hold,
                        &seen.fingerprint,
                        OnLost::TakeOver,
                    ))
                    .await;
                assert!(
                    matches!(claim, Ok(Claim::Won { attempt: 2, .. })),
                    "{claim:?}"
                );
                Ok::<u32, Failed>(1)
            };
            idempotency
                .run(&Scope::anonymous(), &key("other"), crate::asked("x"), work)
                .await
        }
    });
    blocking.await.expect("no panic").expect("a value");
    drop(first.await);
    assert_eq!(runs.load(Ordering::SeqCst), 0, "a second run at once");
}
