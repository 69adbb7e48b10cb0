//! Stores that wrap others keep the contract too: here two wrappers that change bytes, with a handle between them.

use std::sync::Arc;

use idempotency::{Clock, MemoryStore, Store, conformance::TestStore, conformance_tests};

use crate::wrapper::Wrapper;

conformance_tests!(masked_twice);

async fn masked_twice() -> TestStore {
    let clock = Clock::manual();
    let store = MemoryStore::new().with_clock(clock.clone());
    let inner: Arc<dyn Store> = Arc::new(Wrapper::masking(store, 3));
    TestStore::new(Wrapper::masking(inner, 5), move |time| clock.advance(time))
}
