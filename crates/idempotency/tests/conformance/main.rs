//! The stores keep the contract: every function of `conformance`, on each of them.

mod holds;
mod labels;
mod records;
mod shares;
mod withdrawals;
mod wrong;

use std::{sync::Arc, time::Duration};

use idempotency::{
    Clock, MemoryStore, SqliteStore, Store, conformance, conformance::shares::LIMIT_BYTES,
};
use tempfile::TempDir;

use crate::{
    holds::holds, labels::labels, records::records, shares::shares, withdrawals::withdrawals,
};

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
    labels!();
    records!();
    withdrawals!();

    shares!();

    fn open() -> Opened {
        opened(MemoryStore::new())
    }

    fn open_limited() -> Opened {
        opened(MemoryStore::new().with_limit_bytes(LIMIT_BYTES))
    }

    fn opened(store: MemoryStore) -> Opened {
        let clock = Clock::manual();
        Opened {
            store: Arc::new(store.with_clock(clock.clone())),
            clock,
            _folder: None,
        }
    }
}

mod sqlite {
    use super::*;

    holds!();
    labels!();
    records!();
    withdrawals!();

    shares!();

    fn open() -> Opened {
        opened(|store| store)
    }

    fn open_limited() -> Opened {
        opened(|store| store.with_limit_bytes(LIMIT_BYTES))
    }

    fn opened(configure: impl FnOnce(SqliteStore) -> SqliteStore) -> Opened {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(folder.path().join("keys.db")).expect("a store");
        let clock = Clock::manual();
        Opened {
            store: Arc::new(configure(store).with_clock(clock.clone())),
            clock,
            _folder: Some(folder),
        }
    }
}
