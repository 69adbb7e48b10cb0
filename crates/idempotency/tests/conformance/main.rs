//! The stores keep the contract: every function of `conformance`, on each of them.

mod holds;
mod records;
mod withdrawals;
mod wrong;

use std::{sync::Arc, time::Duration};

use idempotency::{Clock, MemoryStore, SqliteStore, Store, conformance};
use tempfile::TempDir;

use crate::{holds::holds, records::records, withdrawals::withdrawals};

/// A store of its own, the clock that it goes by, and what has to stay until it is gone.
struct Opened {
    store: Arc<dyn Store>,
    clock: Clock,
    _folder: Option<TempDir>,
}

impl Opened {
    fn advance(&self) -> impl Fn(Duration) + Send + Sync {
        let clock = self.clock.clone();
        move |time| clock.advance(time)
    }
}

mod memory {
    use super::*;

    holds!();
    records!();
    withdrawals!();

    fn open() -> Opened {
        let clock = Clock::manual();
        Opened {
            store: Arc::new(MemoryStore::new().with_clock(clock.clone())),
            clock,
            _folder: None,
        }
    }
}

mod sqlite {
    use super::*;

    holds!();
    records!();
    withdrawals!();

    fn open() -> Opened {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(folder.path().join("keys.db")).expect("a store");
        let clock = Clock::manual();
        Opened {
            store: Arc::new(store.with_clock(clock.clone())),
            clock,
            _folder: Some(folder),
        }
    }
}
