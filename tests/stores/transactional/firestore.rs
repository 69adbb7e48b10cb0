//! What is particular to commits in Firestore: calls, and answers that are lost on the wire.

use std::sync::Arc;

use idempotency::{FirestoreDatabase, FirestoreStore};
use tests::servers::firestore::{Documents, FirestoreEmulator};

use super::{Database, Service};
use crate::{
    firestore::{tap::Tap, unused_project},
    within_a_minute,
};

/// A service whose calls are carried by a wire.
async fn on_a_wire(emulator: &FirestoreEmulator) -> (Service, Tap, Documents) {
    let (project, tap) = (unused_project(), Tap::start(emulator).await);
    let database = FirestoreDatabase::connect_to_emulator(&project, &tap.address()).await;
    let database = database.expect("a database");
    let store = Arc::new(FirestoreStore::new(database.clone()));
    let documents = Documents::new(&emulator.address(), &project);
    let there = Database::Firestore(Box::new((database, documents.clone())));
    let service = Service::start(there, store).await;
    assert_eq!(tap.calls(), 1, "a look whether anybody answers");
    (service, tap, documents)
}

// behaviour 132
#[tokio::test]
async fn a_booking_with_its_key_costs_two_calls_and_a_replay_one() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let (service, tap, _) = on_a_wire(emulator).await;
    for (key, guest) in [("k", "Ann"), ("l", "Ben")] {
        assert_eq!(service.send("/book/now", key, guest).await.status, 201);
        assert_eq!(tap.calls(), 2, "a look and a commit");
        assert!(service.send("/book/now", key, guest).await.is_replayed);
        assert_eq!(tap.calls(), 1, "a look");
    }
}

/// Firestore has committed, and its answer does not arrive.
// behaviour 132
// race 5, 23
#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_found_out() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let (service, tap, documents) = on_a_wire(emulator).await;
    for (path, key, guest) in [("/book/stop", "k", "Ann"), ("/leased/stop", "l", "Ben")] {
        let before = documents.of("bookings").await.len();
        let first = service.sending(path, key, guest);
        service.arrived().await;
        tap.mute_after(0);
        service.pass();
        let committed = async {
            while documents.of("bookings").await.len() == before {
                tokio::task::yield_now().await;
            }
        };
        within_a_minute("the commit", committed).await;
        tap.cut();
        let first = first.await.expect("an answer");
        assert_eq!(first.status, 201, "{first:?}");
        let retry = service.send(path, key, guest).await;
        assert_eq!((retry.status, retry.is_replayed), (201, true));
        assert_eq!(retry.body, first.body);
        assert_eq!(documents.of("bookings").await.len(), before + 1);
    }
    assert_eq!(service.runs(), 2);
}
