//! What is done after an outage when the store is back, and what is not.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use idempotency::{
    Clock, Idempotency, OnLost, Rejection, Run, RunError, Scope, Store,
    store::{Claim, ClaimRequest, Hold, Token},
};
use tokio::{runtime::Handle, time::Instant};

use crate::{Failed, RunResult, asked, charge, flaky::FlakyStore, key};

fn engine() -> (Idempotency, Arc<FlakyStore>) {
    let store = FlakyStore::new(&Clock::manual());
    let idempotency = Idempotency::builder(Arc::clone(&store)).build();
    (idempotency, store)
}

/// This many requests, each with its own key, all of which the store fails.
async fn refused(idempotency: &Idempotency, many: usize) {
    for number in 0..many {
        let (scope, key) = (Scope::anonymous(), key(&format!("k{number}")));
        let work = async { Ok::<_, Failed>(1) };
        let refused = idempotency.run(&scope, &key, asked("charge"), work).await;
        assert!(matches!(
            refused,
            Err(RunError::Rejected(Rejection::Store(_)))
        ));
    }
}

// proves: dropped-future-loses-nothing, late-claim-holds-key
#[tokio::test(start_paused = true)]
async fn claims_of_an_outage_are_withdrawn_by_one_task_and_do_not_fall_upon_the_store() {
    let (idempotency, store) = engine();
    store.down.store(true, Ordering::SeqCst);
    refused(&idempotency, 2000).await;
    let tasks = Handle::current().metrics().num_alive_tasks();
    assert!(tasks < 10, "{tasks} tasks");
    tokio::time::sleep(Duration::from_secs(20)).await;
    // Now and then the engine asks whether the store is back.
    let asked = store.withdrawals.asked.load(Ordering::SeqCst);
    assert!(asked < 100, "{asked} calls of a store that is down");

    store.down.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(20)).await;
    let most_at_once = store.withdrawals.most_at_once.load(Ordering::SeqCst);
    assert!(most_at_once <= 32, "{most_at_once} at once");
    assert_eq!(store.withdrawals.done.load(Ordering::SeqCst), 2000);
    assert!(idempotency.shutdown_within(Duration::ZERO).await.is_ok());
}

// proves: dropped-future-loses-nothing, late-claim-holds-key
#[tokio::test(start_paused = true)]
async fn a_claim_that_was_not_sent_is_not_withdrawn() {
    let (idempotency, store) = engine();
    store.unreached.store(true, Ordering::SeqCst);
    refused(&idempotency, 10).await;
    assert!(idempotency.shutdown_within(Duration::ZERO).await.is_ok());
    store.unreached.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(store.withdrawals.asked.load(Ordering::SeqCst), 0);
}

/// It would not be readable at another time either, and other claims wait for their turn behind it.
// proves: dropped-future-loses-nothing, damaged-record-frees-key
#[tokio::test(start_paused = true)]
async fn a_claim_whose_record_cannot_be_read_is_withdrawn_once_and_holds_up_no_shutdown() {
    let (idempotency, store) = engine();
    let id = idempotency.record_id(&Scope::anonymous(), &key("k0"));
    *store.unreadable.lock() = Some(id);
    store.dies_behind_claim.store(true, Ordering::SeqCst);
    refused(&idempotency, 1).await;
    store.down.store(false, Ordering::SeqCst);
    let stopped = idempotency.shutdown_within(Duration::from_secs(5)).await;
    assert!(stopped.is_ok(), "{stopped:?}");
    let asked = store.withdrawals.asked.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(store.withdrawals.asked.load(Ordering::SeqCst), asked);
    assert_eq!(store.withdrawals.done.load(Ordering::SeqCst), 0);
}

// proves: failed-completion-keeps-key, mismatch-gets-409
#[tokio::test(start_paused = true)]
async fn a_client_does_not_wait_twice_for_a_store_that_does_not_respond() {
    for silent_from in [1, 2, 3] {
        let (idempotency, store) = engine();
        store.silent_from.store(silent_from, Ordering::SeqCst);
        let begun = Instant::now();
        let run: RunResult<u32> = charge(&idempotency, async { Ok(1) }).await;
        assert_eq!(run.ok(), Some(Run::Executed(1)));
        assert_eq!(begun.elapsed(), Duration::from_secs(5), "{silent_from}");
        // The response is stored once the store responds.
        store.silent_from.store(0, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(20)).await;
        let again: RunResult<u32> = charge(&idempotency, async { Ok(2) }).await;
        assert_eq!(again.ok(), Some(Run::Replayed(1)), "{silent_from}");
    }
}

// proves: dead-owner-taken-over, generation-counter-restarts
#[tokio::test(start_paused = true)]
async fn a_run_that_has_lost_its_key_gives_no_value_where_the_store_cannot_say_which_one_counts() {
    let clock = Clock::manual();
    let store = FlakyStore::new(&clock);
    let idempotency = Idempotency::builder(Arc::clone(&store)).build();
    let id = idempotency.record_id(&Scope::anonymous(), &key("k"));
    let run: RunResult<u32> = charge(&idempotency, {
        let store = Arc::clone(&store);
        async move {
            let seen = store.inner.inspect(&id).await.expect("a reply");
            let fingerprint = seen.expect("a record").fingerprint;
            clock.advance(Duration::from_secs(31));
            let other = Hold::new(
                id,
                Token::random(),
                Duration::from_secs(30),
                Duration::from_secs(3600),
            );
            let taken = store
                .inner
                .claim(ClaimRequest::new(&other, &fingerprint, OnLost::TakeOver))
                .await;
            assert!(matches!(taken, Ok(Claim::Won { attempt: 2, .. })));
            store.blind.store(true, Ordering::SeqCst);
            Ok(1)
        }
    })
    .await;
    assert!(
        matches!(run, Err(RunError::Rejected(Rejection::ResponseUnavailable))),
        "{run:?}"
    );
}
