//! Stores that wrap others keep the contract too.

use idempotency::{Clock, MemoryStore, Store, conformance::TestStore};

use crate::wrapper::Wrapper;

mod counted {
    use idempotency::conformance_tests;

    use super::{TestStore, Wrapper, open};

    conformance_tests!(opened);

    async fn opened() -> Option<TestStore> {
        Some(open(Wrapper::counting))
    }
}

/// Two wrappers that change bytes, with handles between them.
mod masked_twice {
    use std::sync::Arc;

    use idempotency::{Store, conformance_tests};

    use super::{TestStore, Wrapper, open};

    conformance_tests!(opened);

    async fn opened() -> Option<TestStore> {
        Some(open(|store| {
            let inner: Arc<dyn Store> = Arc::new(Wrapper::masking(store, 3));
            Arc::new(Wrapper::masking(inner, 5))
        }))
    }
}

fn open<S: Store>(wrap: impl FnOnce(MemoryStore) -> S) -> TestStore {
    let clock = Clock::manual();
    let store = wrap(MemoryStore::new().with_clock(clock.clone()));
    TestStore::new(store, move |time| clock.advance(time))
}
