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

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use idempotency::{
    Fingerprint, FirestoreStore, conformance_tests,
    store::{Hold, RecordId, Token},
};
use tests::{opened::in_firestore, servers::firestore::FirestoreEmulator};

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

/// A hold on a key that nobody has used, long enough for a slow machine.
fn hold() -> Hold {
    let mut id = [0; 32];
    id[..16].copy_from_slice(Token::random().as_bytes());
    hold_on(RecordId::from_bytes(id))
}

fn hold_on(id: RecordId) -> Hold {
    Hold::new(
        id,
        Token::random(),
        Duration::from_secs(60),
        Duration::from_secs(3600),
    )
}

pub(crate) fn request(content: &str) -> Fingerprint {
    Fingerprint::of([content.as_bytes()])
}
