//! Connections that go dark, and calls that arrive late.

use std::pin::pin;

use bytes::Bytes;
use idempotency::{
    FirestoreStore, Store,
    store::{Claim, Hold, IfOwner, Phase, StoreErrorKind},
};
use tests::servers::firestore::FirestoreEmulator;

use super::{connect, hold_on, new_hold, request, tap::Tap, unused_project};
use crate::{claim, dark, proxy::Proxy, won};

/// A proxy between the emulator and a store, and that store.
async fn behind_a_proxy(emulator: &FirestoreEmulator, project: &str) -> (Proxy, FirestoreStore) {
    let address = emulator.address().parse().expect("an address");
    let proxy = Proxy::to(address).await;
    let address = proxy.address().to_string();
    let store = FirestoreStore::connect_to_emulator(project, &address).await;
    (proxy, store.expect("a store"))
}

// proves: deaf-store-left-quickly, dead-connection-outlives-lease
#[tokio::test]
async fn every_step_finds_a_new_connection_where_the_one_it_had_is_dark() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let (proxy, store) = behind_a_proxy(emulator, &unused_project()).await;
    let (owner, asked) = (new_hold(), request("book"));
    proxy.silence();
    assert_eq!(claim(&store, &owner, &asked).await.ok(), Some(won(1)));
    proxy.silence();
    assert_eq!(store.renew(&owner).await.ok(), Some(IfOwner::Done(())));
    proxy.silence();
    let kept = store.checkpoint(&owner, Bytes::from_static(b"charged"));
    assert_eq!(kept.await.ok(), Some(IfOwner::Done(())));
    proxy.silence();
    let done = store.complete(&owner, Bytes::from_static(b"booked")).await;
    assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
    proxy.silence();
    let replay = claim(&store, &hold_on(owner.id), &asked).await;
    assert!(matches!(replay, Ok(Claim::Completed { .. })), "{replay:?}");
}

// proves: deaf-store-left-quickly, dead-connection-outlives-lease
#[tokio::test]
async fn a_run_whose_connection_goes_dark_keeps_its_key_and_its_outcome() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let project = unused_project();
    let (proxy, here) = behind_a_proxy(emulator, &project).await;
    let there = connect(emulator, &project).await;
    dark::a_run_goes_on(&proxy, here, there).await;
}

// proves: store-down-nothing-runs, deaf-store-left-quickly, dead-connection-outlives-lease
#[tokio::test]
async fn no_request_is_refused_because_a_connection_is_dark() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let (proxy, here) = behind_a_proxy(emulator, &unused_project()).await;
    dark::only_so_many_are_refused(0, &proxy, here).await;
}

// proves: dropped-future-loses-nothing, late-claim-holds-key
#[tokio::test]
async fn a_claim_that_arrives_after_its_withdrawal_takes_nothing() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let (project, tap) = (unused_project(), Tap::start(emulator).await);
    let store = FirestoreStore::connect_to_emulator(&project, &tap.address()).await;
    let store = store.expect("a store");
    let (owner, asked) = (new_hold(), request("book"));
    for next in [hold_on(owner.id), owner.clone()] {
        late_claim(&store, &tap, &next).await;
        let withdrawn = store.withdraw(&next, &asked).await;
        withdrawn.expect("a withdrawal");
        tap.let_through().await;
        assert_eq!(store.inspect(&next.id).await.expect("an inspection"), None);
        let again = claim(&store, &next, &asked).await;
        let kind = again.map_err(|error| error.kind());
        assert_eq!(kind, Err(StoreErrorKind::Withdrawn));
    }
    let elsewhere = connect(emulator, &project).await;
    let claimed = claim(&elsewhere, &hold_on(owner.id), &asked).await;
    assert_eq!(claimed.ok(), Some(won(1)));
}

// proves: dropped-future-loses-nothing, dropped-retry-deletes-steps, late-claim-holds-key
#[tokio::test]
async fn a_take_over_that_arrives_after_its_withdrawal_leaves_the_suspended_run_as_it_is() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let (project, tap) = (unused_project(), Tap::start(emulator).await);
    let store = FirestoreStore::connect_to_emulator(&project, &tap.address()).await;
    let store = store.expect("a store");
    let (owner, asked) = (new_hold(), request("book"));
    assert_eq!(claim(&store, &owner, &asked).await.ok(), Some(won(1)));
    let progress = Bytes::from_static(b"charged");
    let suspended = store.suspend(&owner, progress.clone()).await;
    assert_eq!(suspended.ok(), Some(IfOwner::Done(())));

    let late = hold_on(owner.id);
    late_claim(&store, &tap, &late).await;
    let withdrawn = store.withdraw(&late, &asked).await;
    withdrawn.expect("a withdrawal");
    tap.let_through().await;
    let record = store.inspect(&owner.id).await.expect("an inspection");
    let record = record.expect("the suspended run");
    assert_eq!(record.attempt, 1);
    let Phase::InFlight { progress: left, .. } = record.phase else {
        panic!("it has not ended: {record:?}");
    };
    assert_eq!(left, progress);
    let attempt = 2;
    let next = claim(&store, &hold_on(owner.id), &asked).await;
    assert_eq!(next.ok(), Some(Claim::won(attempt, progress)));
}

/// A claim that is in flight when its caller drops it.
async fn late_claim(store: &FirestoreStore, tap: &Tap, hold: &Hold) {
    tap.hold_back(b"in flight");
    let asked = request("book");
    let mut claiming = pin!(claim(store, hold, &asked));
    tokio::select! {
        biased;
        () = tap.holds_one_back() => {}
        claimed = &mut claiming => panic!("it is held back, and not {claimed:?}"),
    }
}

// proves: dead-connection-outlives-lease
#[tokio::test]
async fn only_a_claim_that_was_not_sent_for_certain_leaves_nothing_to_withdraw() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let (project, mut tap) = (unused_project(), Tap::start(emulator).await);
    let store = FirestoreStore::connect_to_emulator(&project, &tap.address()).await;
    let (store, asked) = (store.expect("a store"), request("book"));
    // What was sent may have arrived.
    tap.mute_after(0);
    let silenced = claim(&store, &new_hold(), &asked).await;
    assert!(silenced.expect_err("nothing comes back").was_sent());
    tap.cut();
    let first = claim(&store, &new_hold(), &asked).await;
    assert_eq!(first.ok(), Some(won(1)));
    // The port is closed. The open connection may still take one call.
    tap.end().await;
    drop(claim(&store, &new_hold(), &asked).await);
    let next = claim(&store, &new_hold(), &asked).await;
    assert!(!next.expect_err("no connection listens").was_sent());
}
