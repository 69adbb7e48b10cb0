//! `FirestoreStore` on Google's emulator.

mod documents;

use std::sync::atomic::{AtomicU32, Ordering};

use idempotency::FirestoreStore;
use tests::servers::firestore::FirestoreEmulator;

use crate::contract::{Opened, the_store_keeps_the_contract};
use documents::Documents;

the_store_keeps_the_contract!(open);

/// A store without records in the emulator that all tests share.
pub(crate) async fn open() -> Option<Opened> {
    let emulator = FirestoreEmulator::shared()?;
    let project = unused_project();
    let store = connect(emulator, &project).await;
    let documents = Documents::new(&emulator.address(), &project);
    Some(Opened::new(store, move |time| documents.set_back(time)))
}

async fn connect(emulator: &FirestoreEmulator, project: &str) -> FirestoreStore {
    FirestoreStore::connect_to_emulator(project, &emulator.address())
        .await
        .expect("a store")
}

/// The emulator makes a project when it is named.
fn unused_project() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
