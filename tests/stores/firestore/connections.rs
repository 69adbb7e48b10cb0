//! Connections that go dark.

use bytes::Bytes;
use idempotency::{Claim, Fenced, FirestoreStore, Store};
use tests::servers::firestore::FirestoreEmulator;

use super::{connect, hold, hold_on, request, unused_project};
use crate::{claim, dark, proxy::Proxy, won};

/// Something between the emulator and a store, and that store.
async fn behind_a_proxy(emulator: &FirestoreEmulator, project: &str) -> (Proxy, FirestoreStore) {
    let address = emulator.address().parse().expect("an address");
    let proxy = Proxy::to(address).await;
    let address = proxy.address().to_string();
    let store = FirestoreStore::connect_to_emulator(project, &address).await;
    (proxy, store.expect("a store"))
}

// behaviour 163
// race 80
#[tokio::test]
async fn every_step_finds_a_new_connection_where_the_one_it_had_is_dark() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let (proxy, store) = behind_a_proxy(emulator, &unused_project()).await;
    let (owner, asked) = (hold(), request("book"));
    proxy.silence();
    assert_eq!(claim(&store, &owner, &asked).await.ok(), Some(won(1)));
    proxy.silence();
    assert_eq!(store.renew(&owner).await.ok(), Some(Fenced::Done(())));
    proxy.silence();
    let kept = store.checkpoint(&owner, Bytes::from_static(b"charged"));
    assert_eq!(kept.await.ok(), Some(Fenced::Done(())));
    proxy.silence();
    let done = store.complete(&owner, Bytes::from_static(b"booked")).await;
    assert!(matches!(done, Ok(Fenced::Done(_))), "{done:?}");
    proxy.silence();
    let replay = claim(&store, &hold_on(owner.id), &asked).await;
    assert!(matches!(replay, Ok(Claim::Completed { .. })), "{replay:?}");
}

// behaviour 163
// race 80
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

// behaviour 130, 163
// race 80
#[tokio::test]
async fn no_request_is_refused_because_a_connection_is_dark() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let (proxy, here) = behind_a_proxy(emulator, &unused_project()).await;
    dark::only_so_many_are_refused(0, &proxy, here).await;
}
