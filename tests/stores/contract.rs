//! The contract of a store as tests, for stores whose clock is a server's.

mod ahead;
pub(crate) mod holds;
pub(crate) mod records;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use idempotency::Store;

use ahead::Ahead;

/// A store of its own, and a way to let time pass for it.
pub(crate) struct Opened {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) advance: Box<dyn Fn(Duration) + Send + Sync>,
}

impl Opened {
    /// This store, for which time passes when `set_back` moves all times that the server keeps for it back by as
    /// much.
    ///
    /// What the store then says is what a server would say whose clock has gone on, but for the times themselves:
    /// they are moved forward again here.
    pub(crate) fn new(
        store: impl Store,
        set_back: impl Fn(Duration) + Send + Sync + 'static,
    ) -> Self {
        let ahead = Arc::new(AtomicU64::new(0));
        let store = Ahead {
            store,
            by: Arc::clone(&ahead),
        };
        Self {
            store: Arc::new(store),
            advance: Box::new(move |time| {
                set_back(time);
                let time = u64::try_from(time.as_micros()).expect("a short time");
                ahead.fetch_add(time, Ordering::SeqCst);
            }),
        }
    }
}

/// A test for each function of the contract, on stores that this function opens: `async fn() -> Option<Opened>`, and
/// none where the server is not installed.
macro_rules! the_store_keeps_the_contract {
    ($open:path) => {
        use idempotency::conformance;

        crate::contract::holds::holds!($open);
        crate::contract::records::records!($open);
    };
}

pub(crate) use the_store_keeps_the_contract;
