//! The shared stores on the servers of this process, each without records, and a way to let time pass for them.

mod clock_skew;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use idempotency::{FirestoreStore, PostgresStore, RedisStore, Store, conformance::TestStore};

use crate::{
    delegate::Delegate,
    servers::{
        firestore::{Documents, FirestoreEmulator},
        postgres::{PostgresServer, advance, make_clock_movable},
        redis::{RedisServer, set_back},
    },
};
use clock_skew::ClockSkew;

/// This store. Time passes for it when `set_back` moves all times that the server keeps for it back by as
/// much.
///
/// The store then behaves as on a server whose clock has advanced, except for the times that it returns:
/// these are moved forward again here.
pub fn skewed(store: impl Store, set_back: impl Fn(Duration) + Send + Sync + 'static) -> TestStore {
    let by = Arc::new(AtomicU64::new(0));
    let store = Delegate(ClockSkew {
        store,
        by: Arc::clone(&by),
    });
    TestStore::new(store, move |time| {
        set_back(time);
        let time = u64::try_from(time.as_micros()).expect("a short time");
        by.fetch_add(time, Ordering::SeqCst);
    })
}

/// In a database of the server that all tests of this process share; `None` where PostgreSQL is not installed.
///
/// # Panics
///
/// If the server cannot be used.
pub async fn in_postgres() -> Option<TestStore> {
    let url = PostgresServer::shared()?.database().await;
    make_clock_movable(&url).await;
    let store = PostgresStore::connect(&url).await.expect("a store");
    Some(TestStore::new(store, move |time| advance(&url, time)))
}

/// Under a prefix on the server that all tests of this process share; `None` where Redis is not installed.
///
/// # Panics
///
/// If the server cannot be used.
pub async fn in_redis() -> Option<TestStore> {
    let server = RedisServer::shared()?;
    let store = RedisStore::connect(&server.url()).await.expect("a store");
    let prefix = format!("{}:", unused_name());
    let store = store.with_prefix(&prefix);
    Some(skewed(store, move |time| set_back(server, &prefix, time)))
}

/// In a project of the emulator that all tests of this process share; `None` where it is not installed.
///
/// # Panics
///
/// If the emulator cannot be used.
pub async fn in_firestore() -> Option<TestStore> {
    let emulator = FirestoreEmulator::shared()?;
    let (project, address) = (unused_name(), emulator.address());
    let store = FirestoreStore::connect_to_emulator(&project, &address).await;
    let documents = Documents::new(&address, &project);
    Some(skewed(store.expect("a store"), move |time| {
        documents.set_back(time);
    }))
}

fn unused_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("store-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
