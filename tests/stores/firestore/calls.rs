//! What a step costs, counted on the wire.

use bytes::Bytes;
use idempotency::{
    FirestoreStore, Store,
    store::{Claim, IfOwner},
};
use tests::servers::firestore::FirestoreEmulator;

use super::{hold_on, new_hold, request, tap::Tap, unused_project};
use crate::{claim, won};

async fn connect(project: &str, tap: &Tap) -> FirestoreStore {
    let store = FirestoreStore::connect_to_emulator(project, &tap.address()).await;
    assert_eq!(tap.calls(), 1, "a check whether the server responds");
    store.expect("a store")
}

#[tokio::test]
async fn a_first_run_costs_two_calls_and_a_replay_one() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let (project, tap) = (unused_project(), Tap::start(emulator).await);
    let store = connect(&project, &tap).await;
    let (owner, asked) = (new_hold(), request("book"));

    let claimed = claim(&store, &owner, &asked).await;
    assert_eq!(claimed.ok(), Some(won(1)));
    assert_eq!(tap.calls(), 1, "a claim");
    assert_eq!(store.renew(&owner).await.ok(), Some(IfOwner::Done(())));
    assert_eq!(tap.calls(), 1, "a renewal");
    for left in ["charged", "charged, sent"] {
        let kept = store.checkpoint(&owner, Bytes::from_static(left.as_bytes()));
        assert_eq!(kept.await.ok(), Some(IfOwner::Done(())));
        assert_eq!(tap.calls(), 1, "a checkpoint");
    }
    let done = store.complete(&owner, Bytes::from_static(b"booked")).await;
    assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
    assert_eq!(tap.calls(), 1, "a completion");
    for _ in 0..2 {
        let replay = claim(&store, &hold_on(owner.id), &asked).await;
        assert!(matches!(replay, Ok(Claim::Completed { .. })), "{replay:?}");
        assert_eq!(tap.calls(), 1, "a replay");
    }

    // A key that this process has not met is taken for new.
    let elsewhere = connect(&project, &tap).await;
    for calls in [2, 1, 1] {
        let replay = claim(&elsewhere, &hold_on(owner.id), &asked).await;
        assert!(matches!(replay, Ok(Claim::Completed { .. })), "{replay:?}");
        assert_eq!(tap.calls(), calls, "a replay elsewhere");
    }
}

#[tokio::test]
async fn a_run_that_fails_costs_two_calls_and_a_duplicate_one() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let (project, tap) = (unused_project(), Tap::start(emulator).await);
    let store = connect(&project, &tap).await;
    let (first, asked) = (new_hold(), request("book"));

    for _ in 0..2 {
        let owner = hold_on(first.id);
        let claimed = claim(&store, &owner, &asked).await;
        assert_eq!(claimed.ok(), Some(won(1)));
        assert_eq!(tap.calls(), 1, "a claim");
        let duplicate = claim(&store, &hold_on(owner.id), &asked).await;
        let running = Claim::in_flight(asked);
        assert_eq!(duplicate.ok(), Some(running));
        assert_eq!(tap.calls(), 1, "a duplicate");
        assert_eq!(store.release(&owner).await.ok(), Some(IfOwner::Done(())));
        assert_eq!(tap.calls(), 1, "a release");
    }
}

#[tokio::test]
async fn a_withdrawal_costs_one_call_where_the_key_is_new_and_two_otherwise() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let (project, tap) = (unused_project(), Tap::start(emulator).await);
    let store = connect(&project, &tap).await;
    let (first, asked) = (new_hold(), request("book"));
    for calls in [1, 2] {
        let owner = hold_on(first.id);
        let withdrawn = store.withdraw(&owner, &asked).await;
        withdrawn.expect("a withdrawal");
        assert_eq!(tap.calls(), calls, "a withdrawal of what was never claimed");
    }
    let claimed = claim(&store, &hold_on(first.id), &asked).await;
    assert_eq!(claimed.ok(), Some(won(1)));
    assert_eq!(tap.calls(), 1, "a claim where several tokens are spent");

    let first = new_hold();
    for _ in 0..2 {
        let owner = hold_on(first.id);
        let claimed = claim(&store, &owner, &asked).await;
        assert_eq!(claimed.ok(), Some(won(1)));
        assert_eq!(tap.calls(), 1, "a claim on a free key");
        let withdrawn = store.withdraw(&owner, &asked).await;
        withdrawn.expect("a withdrawal");
        assert_eq!(tap.calls(), 2, "a withdrawal");
    }
    // A process that has not met the key tries to create its document, and finds the mark.
    let elsewhere = connect(&project, &tap).await;
    let claimed = claim(&elsewhere, &hold_on(first.id), &asked).await;
    assert_eq!(claimed.ok(), Some(won(1)));
    assert_eq!(tap.calls(), 3, "a claim elsewhere");
}

// proves: downstream-key-derived, dropped-future-loses-nothing, stale-owner-writes
#[tokio::test]
async fn a_suspension_costs_one_call_and_a_late_checkpoint_a_read() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let (project, tap) = (unused_project(), Tap::start(emulator).await);
    let store = connect(&project, &tap).await;
    let asked = request("book");
    let (early, longer) = (
        Bytes::from_static(b"charged"),
        Bytes::from_static(b"charged, sent"),
    );
    // The run's progress stays, whichever call comes late.
    for last in [&early, &longer] {
        let owner = new_hold();
        let claimed = claim(&store, &owner, &asked).await;
        assert_eq!(claimed.ok(), Some(won(1)));
        let kept = store.checkpoint(&owner, longer.clone()).await;
        assert_eq!(kept.ok(), Some(IfOwner::Done(())));
        assert_eq!(store.renew(&owner).await.ok(), Some(IfOwner::Done(())));
        assert_eq!(tap.calls(), 3, "a claim, a checkpoint and a renewal");
        let late = store.checkpoint(&owner, early.clone()).await;
        assert_eq!(late.ok(), Some(IfOwner::Done(())));
        assert_eq!(tap.calls(), 1, "a read");
        let suspended = store.suspend(&owner, last.clone()).await;
        assert_eq!(suspended.ok(), Some(IfOwner::Done(())));
        assert_eq!(tap.calls(), 1, "a suspension");
        let next = claim(&store, &hold_on(owner.id), &asked).await;
        let (attempt, progress) = (2, longer.clone());
        assert_eq!(next.ok(), Some(Claim::won(attempt, progress)));
        assert_eq!(tap.calls(), 2, "what goes on from it");
    }
}
