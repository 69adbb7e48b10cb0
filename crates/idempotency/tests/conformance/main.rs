//! The stores keep the contract: every function of `conformance`, on each of them.

#[path = "../support/delegate.rs"]
pub mod delegate;
mod wrong;

use idempotency::{
    Clock, MemoryStore, SqliteStore,
    conformance::{TestStore, shares::LIMIT_BYTES},
    conformance_tests,
};

mod memory {
    use super::*;

    conformance_tests!(async || in_memory(MemoryStore::new()));
    conformance_tests!(wakeups: async || in_memory(MemoryStore::new()));
    conformance_tests!(shares: async || in_memory(MemoryStore::new().with_limit_bytes(LIMIT_BYTES)));
}

mod sqlite {
    use super::*;

    conformance_tests!(async || in_a_file(|store| store));
    conformance_tests!(wakeups: async || in_a_file(|store| store));
    conformance_tests!(shares: async || in_a_file(|store| store.with_limit_bytes(LIMIT_BYTES)));
}

fn in_memory(store: MemoryStore) -> TestStore {
    let clock = Clock::manual();
    TestStore::new(store.with_clock(clock.clone()), move |time| {
        clock.advance(time);
    })
}

fn in_a_file(configure: impl FnOnce(SqliteStore) -> SqliteStore) -> TestStore {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(folder.path().join("keys.db")).expect("a store");
    let clock = Clock::manual();
    TestStore::new(configure(store).with_clock(clock.clone()), move |time| {
        // It stays until the store is gone.
        let _ = &folder;
        clock.advance(time);
    })
}
