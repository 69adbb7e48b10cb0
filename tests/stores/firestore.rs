//! `FirestoreStore` on Google's emulator.

mod calls;
mod connections;
mod earlier;
mod failures;
mod labels;
mod processes;
mod records;
mod stale;
pub(crate) mod tap;
mod transactions;
mod waking;

use std::sync::atomic::{AtomicU32, Ordering};

use idempotency::{Fingerprint, FirestoreStore, conformance_tests};
use tests::{servers::firestore::FirestoreEmulator, test_stores::in_firestore};

use crate::holds::{hold_on, new_hold};

conformance_tests!(in_firestore);
conformance_tests!(wakeups: in_firestore);

async fn connect(emulator: &FirestoreEmulator, project: &str) -> FirestoreStore {
    FirestoreStore::connect_to_emulator(project, &emulator.address())
        .await
        .expect("a store")
}

/// The emulator makes a project when it is named.
pub(crate) fn unused_project() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn request(content: &str) -> Fingerprint {
    Fingerprint::of([content.as_bytes()])
}
