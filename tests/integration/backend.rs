//! The stores to test with.

use std::{path::Path, sync::Arc};

use idempotency::{Clock, MemoryStore, SqliteStore, Store};
use rstest_reuse::template;
use tests::test_stores::{in_firestore, in_postgres, in_redis};

use crate::time::Time;

/// A store to test with. A test whose store is not installed is skipped, and says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Memory,
    Sqlite,
    Postgres,
    Redis,
    Firestore,
}

/// For races, lost replies, waiting, and one case of each other behaviour. Everything else that a store has to do is in
/// the conformance suite, which runs on each store too.
#[template]
#[rstest::rstest]
#[case::memory(Backend::Memory)]
#[case::sqlite(Backend::Sqlite)]
#[case::postgres(Backend::Postgres)]
#[case::redis(Backend::Redis)]
#[case::firestore(Backend::Firestore)]
fn each_store(#[case] backend: Backend) {}

/// The value, or the end of the test where the store is not installed.
macro_rules! installed {
    ($server:expr) => {
        match $server {
            Some(server) => server,
            None => return,
        }
    };
}

pub(crate) use installed;

impl Backend {
    /// An empty store, whose files are in this folder, and its time; `None` where it is not installed.
    pub(crate) async fn open(self, folder: &Path) -> Option<(Arc<dyn Store>, Time)> {
        let clock = Clock::manual();
        let opened = match self {
            Self::Memory => {
                let store = MemoryStore::new().with_clock(clock.clone());
                return Some((Arc::new(store), Time::by_hand(clock)));
            }
            Self::Sqlite => {
                let store = SqliteStore::open(folder.join("keys.db")).expect("a database");
                let store = store.with_clock(clock.clone());
                return Some((Arc::new(store), Time::by_hand(clock)));
            }
            Self::Postgres => in_postgres().await?,
            Self::Redis => in_redis().await?,
            Self::Firestore => in_firestore().await?,
        };
        Some((opened.store, Time::of_a_server(opened.advance)))
    }
}
