//! Stores that wrap others keep the contract too.

use std::sync::Arc;

use idempotency::{Clock, MemoryStore, Store};
use tests::opened::Opened;

use crate::wrapper::Wrapper;

mod counted {
    use super::{Opened, Wrapper, open};
    use crate::contract::the_store_keeps_the_contract;

    the_store_keeps_the_contract!(opened);

    async fn opened() -> Option<Opened> {
        Some(open(Wrapper::counting))
    }
}

/// Two wrappers that change bytes, with handles between them.
mod masked_twice {
    use std::sync::Arc;

    use idempotency::Store;

    use super::{Opened, Wrapper, open};
    use crate::contract::the_store_keeps_the_contract;

    the_store_keeps_the_contract!(opened);

    async fn opened() -> Option<Opened> {
        Some(open(|store| {
            let inner: Arc<dyn Store> = Arc::new(Wrapper::masking(store, 3));
            Arc::new(Wrapper::masking(inner, 5))
        }))
    }
}

fn open<S: Store>(wrap: impl FnOnce(MemoryStore) -> S) -> Opened {
    let clock = Clock::manual();
    Opened {
        store: Arc::new(wrap(MemoryStore::new().with_clock(clock.clone()))),
        advance: Box::new(move |time| clock.advance(time)),
    }
}
