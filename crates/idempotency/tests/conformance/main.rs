//! The stores keep the contract: every function of `conformance`, on each of them.

#[path = "../support/delegate.rs"]
pub mod delegate;
mod parts;
mod wrong;

use async_trait::async_trait;
use delegate::{Delegate, Hooks};
use idempotency::{
    Clock, Idempotency, MemoryStore, SqliteStore, Store,
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

/// The store of an engine that encrypts what it leaves.
mod sealed {
    use super::*;

    #[derive(Debug)]
    struct Sealed(Idempotency);

    #[async_trait]
    impl Hooks for Sealed {
        fn store(&self) -> &dyn Store {
            self.0.store()
        }

        fn wrapped(&self) -> Option<&dyn Store> {
            Some(self.0.store())
        }
    }

    fn sealed(opened: TestStore) -> TestStore {
        let idempotency = Idempotency::builder(opened.store).with_secret(b"a secret");
        TestStore::new(Delegate(Sealed(idempotency.build())), opened.advance)
    }

    conformance_tests!(async || sealed(in_memory(MemoryStore::new())));
    conformance_tests!(wakeups: async || sealed(in_memory(MemoryStore::new())));
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
