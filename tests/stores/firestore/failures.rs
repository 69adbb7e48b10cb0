//! An emulator that is stopped, slow or cut off.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use idempotency::{
    FirestoreStore, Idempotency, IdempotencyKey, Rejection, Run, RunError, Scope, Store,
    store::{Claim, IfOwner, Phase, Resolution, StoreErrorKind, Token},
};
use tests::servers::firestore::{Documents, FirestoreEmulator};
use tokio::sync::Notify;

use super::{connect, hold_on, new_hold, request, tap::Tap, unused_project};
use crate::{claim, won};

// proves: store-down-nothing-runs, store-outage-fails-open
#[tokio::test]
async fn nothing_runs_while_the_server_is_down_and_it_works_again_when_it_is_back() {
    let Some(emulator) = FirestoreEmulator::start() else {
        return;
    };
    let store = connect(&emulator, &unused_project()).await;
    let idempotency = Idempotency::new(store.clone());
    let runs = Arc::new(AtomicUsize::new(0));
    let run = async || {
        let (scope, key) = (Scope::principal("ann"), IdempotencyKey::new("one"));
        let runs = Arc::clone(&runs);
        let work = async move { Ok::<_, ()>(runs.fetch_add(1, Ordering::SeqCst) + 1) };
        let key = key.expect("a key");
        idempotency.run(&scope, &key, request("book"), work).await
    };

    emulator.stop();
    let refused = run().await;
    let Err(RunError::Rejected(Rejection::Store(error))) = refused else {
        panic!("the store is not there, and the run is {refused:?}");
    };
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert_eq!(runs.load(Ordering::SeqCst), 0);

    emulator.start_again();
    assert!(matches!(run().await, Ok(Run::Executed(1))));
    assert!(matches!(run().await, Ok(Run::Replayed(1))));
}

// proves: own-claim-unrecognised, contention-as-error
#[tokio::test]
async fn a_claim_that_was_too_slow_is_recognised_when_it_is_repeated() {
    let Some(emulator) = FirestoreEmulator::start() else {
        return;
    };
    let store = connect(&emulator, &unused_project()).await;
    let (owner, asked) = (new_hold(), request("book"));

    emulator.pause();
    let refused = claim(&store, &owner, &asked).await;
    let kind = refused.map_err(|error| error.kind());
    assert_eq!(kind, Err(StoreErrorKind::Unavailable));
    emulator.resume();

    // The first call may have been made meanwhile, or may still be made.
    for _ in 0..2 {
        let claimed = claim(&store, &owner, &asked).await;
        assert_eq!(claimed.ok(), Some(won(1)));
    }
    let duplicate = claim(&store, &hold_on(owner.id), &asked).await;
    let running = Claim::in_flight(asked);
    assert_eq!(duplicate.ok(), Some(running));
}

// proves: own-claim-unrecognised, contention-as-error
#[tokio::test]
async fn a_step_whose_reply_is_lost_is_recognised_and_not_taken_twice() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let (project, tap) = (unused_project(), Tap::start(emulator).await);
    let documents = Documents::new(&emulator.address(), &project);
    let store = FirestoreStore::connect_to_emulator(&project, &tap.address()).await;
    let store = store.expect("a store");
    let (first, asked) = (new_hold(), request("book"));

    tap.mute_after(0);
    let made = documents.until(|record| record.is_some());
    let claimed = lost(&tap, claim(&store, &first, &asked), made).await;
    assert_eq!(claimed.ok(), Some(won(1)));

    // A take-over reads first, and counts as one attempt.
    documents.set_back(first.lease);
    let second = hold_on(first.id);
    tap.mute_after(1);
    let made = documents.until(|record| record.is_some_and(|(_, token)| token == second.token));
    let claimed = lost(&tap, claim(&store, &second, &asked), made).await;
    assert_eq!(claimed.ok(), Some(won(2)));

    // A checkpoint is repeated, which changes nothing.
    tap.mute_after(0);
    let keeping = store.checkpoint(&second, Bytes::from_static(b"charged"));
    let kept = lost(&tap, keeping, documents.one_has_left(b"charged")).await;
    assert_eq!(kept.ok(), Some(IfOwner::Done(())));

    tap.mute_after(0);
    let completing = store.complete(&second, Bytes::from_static(b"booked"));
    let done = lost(&tap, completing, documents.until(is_completed)).await;
    let record = store.inspect(&first.id).await.expect("an inspection");
    let record = record.expect("the record");
    assert_eq!(done.ok(), Some(IfOwner::Done(record.expires_at)));
    let outcome = Bytes::from_static(b"booked");
    assert_eq!(record.phase, Phase::Completed { outcome });
}

// proves: own-claim-unrecognised
#[tokio::test]
async fn a_release_whose_reply_is_lost_is_done() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let (project, tap) = (unused_project(), Tap::start(emulator).await);
    let documents = Documents::new(&emulator.address(), &project);
    let store = FirestoreStore::connect_to_emulator(&project, &tap.address()).await;
    let store = store.expect("a store");
    let owner = new_hold();
    let claimed = claim(&store, &owner, &request("book")).await;
    assert_eq!(claimed.ok(), Some(won(1)));

    tap.mute_after(0);
    let made = documents.until(is_withdrawn);
    let released = lost(&tap, store.release(&owner), made).await;
    assert_eq!(released.ok(), Some(IfOwner::Done(())));
    assert_eq!(store.release(&owner).await.ok(), Some(IfOwner::NotOwner));
}

// proves: downstream-key-derived, own-claim-unrecognised
#[tokio::test]
async fn a_suspension_whose_reply_is_lost_is_done_or_its_result_is_unknown() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let asked = request("book");
    let progress = Bytes::from_static(b"charged");
    for is_taken_over in [false, true] {
        let (project, tap) = (unused_project(), Tap::start(emulator).await);
        let documents = Documents::new(&emulator.address(), &project);
        let elsewhere = connect(emulator, &project).await;
        let store = FirestoreStore::connect_to_emulator(&project, &tap.address()).await;
        let store = store.expect("a store");
        let owner = new_hold();
        let claimed = claim(&store, &owner, &asked).await;
        assert_eq!(claimed.ok(), Some(won(1)));
        let next = hold_on(owner.id);
        let goes_on = async || {
            let claimed = claim(&elsewhere, &next, &asked).await;
            let (attempt, progress) = (2, progress.clone());
            assert_eq!(claimed.ok(), Some(Claim::won(attempt, progress)));
        };

        tap.mute_after(0);
        let made = async {
            documents.until(is_withdrawn).await;
            if is_taken_over {
                goes_on().await;
            }
        };
        let suspended = lost(&tap, store.suspend(&owner, progress.clone()), made).await;
        let suspended = suspended.map_err(|error| error.kind());
        if is_taken_over {
            assert_eq!(suspended, Err(StoreErrorKind::Unavailable));
        } else {
            assert_eq!(suspended, Ok(IfOwner::Done(())));
            goes_on().await;
        }
        let again = store.suspend(&owner, progress.clone()).await;
        assert_eq!(again.ok(), Some(IfOwner::NotOwner));
    }
}

/// Another run takes the released key before the operator's call is repeated.
// proves: downstream-key-derived, own-claim-unrecognised
#[tokio::test]
async fn a_resolution_whose_reply_is_lost_is_done_or_its_result_is_unknown() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let asked = request("book");
    for is_taken_again in [false, true] {
        let (project, tap) = (unused_project(), Tap::start(emulator).await);
        let documents = Documents::new(&emulator.address(), &project);
        let elsewhere = connect(emulator, &project).await;
        let store = FirestoreStore::connect_to_emulator(&project, &tap.address()).await;
        let store = store.expect("a store");
        let owner = new_hold();
        let claimed = claim(&store, &owner, &asked).await;
        assert_eq!(claimed.ok(), Some(won(1)));

        tap.mute_after(0);
        let made = async {
            documents.until(is_withdrawn).await;
            if is_taken_again {
                let next = claim(&elsewhere, &hold_on(owner.id), &asked).await;
                assert_eq!(next.ok(), Some(won(1)));
            }
        };
        let resolve = store.resolve(&owner.id, &owner.token, Resolution::Release);
        let resolved = lost(&tap, resolve, made).await;
        let expected = if is_taken_again {
            Err(StoreErrorKind::Unavailable)
        } else {
            Ok(IfOwner::Done(()))
        };
        assert_eq!(resolved.map_err(|error| error.kind()), expected);
    }
}

/// Another run may take the forgotten key before the operator's call is repeated.
// proves: own-claim-unrecognised
#[tokio::test]
async fn a_correction_whose_reply_is_lost_is_done_or_its_result_is_unknown() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let asked = request("book");
    for is_taken_again in [false, true] {
        let (project, tap) = (unused_project(), Tap::start(emulator).await);
        let documents = Documents::new(&emulator.address(), &project);
        let elsewhere = connect(emulator, &project).await;
        let store = FirestoreStore::connect_to_emulator(&project, &tap.address()).await;
        let store = store.expect("a store");
        let owner = new_hold();
        let claimed = claim(&store, &owner, &asked).await;
        assert_eq!(claimed.ok(), Some(won(1)));
        let completed = store.complete(&owner, Bytes::from_static(b"booked")).await;
        assert!(matches!(completed, Ok(IfOwner::Done(_))), "{completed:?}");

        // Only the read before the change gets a reply.
        tap.mute_after(1);
        let outcome = Bytes::from_static(b"moved");
        let replace = Resolution::Replace {
            outcome: outcome.clone(),
        };
        let replace = store.resolve(&owner.id, &owner.token, replace);
        let replaced = lost(&tap, replace, documents.one_has_left(&outcome)).await;
        assert_eq!(replaced.ok(), Some(IfOwner::Done(())));

        tap.mute_after(1);
        let made = async {
            documents.until(is_withdrawn).await;
            if is_taken_again {
                let next = claim(&elsewhere, &hold_on(owner.id), &asked).await;
                assert_eq!(next.ok(), Some(won(1)));
            }
        };
        let forget = store.resolve(&owner.id, &owner.token, Resolution::Forget);
        let forgotten = lost(&tap, forget, made).await;
        let expected = if is_taken_again {
            Err(StoreErrorKind::Unavailable)
        } else {
            Ok(IfOwner::Done(()))
        };
        assert_eq!(forgotten.map_err(|error| error.kind()), expected);
        let again = store.resolve(&owner.id, &owner.token, Resolution::Forget);
        assert_eq!(again.await.ok(), Some(IfOwner::NotOwner));
    }
}

/// Takes the step without receiving its reply, until the connection is cut.
async fn lost<T>(tap: &Tap, step: impl Future<Output = T>, made: impl Future<Output = ()>) -> T {
    let mut step = pin!(step);
    tokio::select! {
        _ = &mut step => panic!("the reply was not lost"),
        () = made => tap.cut(),
    }
    step.await
}

fn is_withdrawn(record: Option<(String, Token)>) -> bool {
    record.is_some_and(|(phase, _)| phase == "withdrawn")
}

fn is_completed(record: Option<(String, Token)>) -> bool {
    record.is_some_and(|(phase, _)| phase == "completed")
}

// proves: failed-completion-keeps-key, failed-completion-frees-key, renewal-stops-early
#[tokio::test]
async fn a_response_that_cannot_be_stored_is_sent_and_stored_once_the_server_is_back() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let (project, tap) = (unused_project(), Tap::start(emulator).await);
    let documents = Documents::new(&emulator.address(), &project);
    let store = FirestoreStore::connect_to_emulator(&project, &tap.address()).await;
    let idempotency = Idempotency::new(store.expect("a store"));
    let (scope, key) = (
        Scope::principal("ann"),
        IdempotencyKey::new("one").expect("a key"),
    );

    let (running, down) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let work = {
        let (running, down) = (Arc::clone(&running), Arc::clone(&down));
        async move {
            running.notify_one();
            down.notified().await;
            Ok::<_, ()>("booked".to_owned())
        }
    };
    let cut = async {
        running.notified().await;
        tap.take_down();
        down.notify_one();
    };
    let first = idempotency.run(&scope, &key, request("book"), work);
    let (first, ()) = tokio::join!(first, cut);
    assert!(matches!(first, Ok(Run::Executed(value)) if value == "booked"));
    let phase = documents.only().await.map(|(phase, _)| phase);
    assert_eq!(phase.as_deref(), Some("in flight"));

    tap.put_up();
    documents.until(is_completed).await;
    let again = async { Ok::<_, ()>("booked again".to_owned()) };
    let again = idempotency.run(&scope, &key, request("book"), again).await;
    assert!(matches!(again, Ok(Run::Replayed(value)) if value == "booked"));
}
