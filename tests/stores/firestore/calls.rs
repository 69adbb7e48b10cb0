//! What a step costs, counted on the wire.

use bytes::Bytes;
use futures_util::future::join;
use idempotency::{
    FirestoreStore, Store,
    store::{Claim, Hold, IfOwner},
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

/// Completes this many new keys, which other processes have not met.
async fn complete_new(store: &FirestoreStore, many: usize) -> Vec<Hold> {
    let holds: Vec<_> = (0..many).map(|_| new_hold()).collect();
    for hold in &holds {
        let claimed = claim(store, hold, &request("book")).await;
        assert_eq!(claimed.ok(), Some(won(1)));
        let done = store.complete(hold, Bytes::from_static(b"booked")).await;
        assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
    }
    holds
}

/// Replays these keys where they have not been met, and returns what each has cost.
async fn replay_elsewhere(store: &FirestoreStore, tap: &Tap, holds: &[Hold]) -> Vec<usize> {
    let mut calls = Vec::new();
    tap.calls();
    for hold in holds {
        let replay = claim(store, &hold_on(hold.id), &request("book")).await;
        assert!(matches!(replay, Ok(Claim::Completed { .. })), "{replay:?}");
        calls.push(tap.calls());
    }
    calls
}

#[tokio::test]
async fn where_most_unmet_keys_have_records_a_replay_costs_one_call() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let (project, tap) = (unused_project(), Tap::start(emulator).await);
    let (store, elsewhere) = (connect(&project, &tap).await, connect(&project, &tap).await);
    let holds = complete_new(&store, 20).await;
    let replays = replay_elsewhere(&elsewhere, &tap, &holds).await;
    assert_eq!(replays[..4], [2; 4], "most keys are taken for new at first");
    assert_eq!(replays[4..], [1; 16]);

    // A new key costs a read more, until most keys are new again: however many were replayed before.
    let mut claims = Vec::new();
    for _ in 0..20 {
        let claimed = claim(&elsewhere, &new_hold(), &request("book")).await;
        assert_eq!(claimed.ok(), Some(won(1)));
        claims.push(tap.calls());
    }
    assert_eq!(claims[..13], [2; 13]);
    assert_eq!(claims[13..], [1; 7]);
}

/// Both read first that there is no record, and only one can then make it.
// proves: concurrent-equals-run-once
#[tokio::test]
async fn processes_that_read_first_take_a_key_once() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let (project, tap) = (unused_project(), Tap::start(emulator).await);
    let store = connect(&project, &tap).await;
    let (one, other) = (connect(&project, &tap).await, connect(&project, &tap).await);
    let holds = complete_new(&store, 8).await;
    for process in [&one, &other] {
        replay_elsewhere(process, &tap, &holds).await;
    }
    for _ in 0..16 {
        // Replays and new keys in turns, so that both go on reading first.
        for process in [&one, &other] {
            let known = complete_new(&store, 1).await;
            replay_elsewhere(process, &tap, &known).await;
        }
        let first = new_hold();
        let (asked, second) = (request("book"), hold_on(first.id));
        let claims = join(claim(&one, &first, &asked), claim(&other, &second, &asked)).await;
        let claims = [claims.0.ok(), claims.1.ok()];
        let (won, in_flight) = (Some(won(1)), Some(Claim::in_flight(asked)));
        assert!(
            claims.contains(&won) && claims.contains(&in_flight),
            "{claims:?}"
        );
        // Each has read, one has made the record, and the other has tried to and read again, or found it at once.
        let calls = tap.calls();
        assert!((3..=5).contains(&calls), "{calls}");
    }
    // They have read first to the end: a new key costs the read too.
    for process in [&one, &other] {
        let claimed = claim(process, &new_hold(), &request("book")).await;
        assert_eq!((claimed.ok(), tap.calls()), (Some(won(1)), 2));
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
