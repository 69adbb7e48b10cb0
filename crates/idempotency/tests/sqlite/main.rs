//! Behaviour of the SQLite store alone: it outlives its process, and many callers share one commit.

use std::{
    fs,
    future::poll_fn,
    path::{Path, PathBuf},
    pin::{Pin, pin},
    sync::mpsc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use idempotency::{
    Clock, Fingerprint, OnLost, SqliteDatabase, SqliteStore, Store,
    store::{
        Claim, ClaimRequest, Hold, IfOwner, ListRequest, Phase, RecordId, Resolution,
        SqliteStoreError, StoreError, StoreErrorKind, Token,
    },
};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::{sync::oneshot, task::JoinHandle};

mod batches;
mod clocks;
mod ended;
mod full;
mod labels;
mod live;
mod log;
mod opening;
mod outages;
#[cfg(unix)]
mod owners;
mod places;
mod records;
mod shares;
mod spent;
mod transactional;
mod upgrades;
mod verified;
mod version_1;

/// A folder that is removed when this is dropped, with the path of a file in it.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("keys.db")
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        self.0.path().join(format!("keys.db{suffix}"))
    }
}

const LEASE: Duration = Duration::from_secs(30);
const TTL: Duration = Duration::from_secs(3600);

fn hold(key: u8) -> Hold {
    Hold::new(RecordId::from_bytes([key; 32]), Token::random(), LEASE, TTL)
}

/// Makes the file one of version 1 as the guide says, and takes away columns that came later.
fn earlier_file(path: &Path, later: &[&str]) -> Connection {
    let connection = Connection::open(path).expect("a connection");
    let guide = include_str!("../../src/docs/operators.md");
    let (_, back) = guide.split_once("```sql\n").expect("statements");
    let (back, _) = back.split_once("```").expect("statements");
    connection.execute_batch(back).expect("an earlier file");
    for column in later {
        let older = format!("alter table idempotency_records drop column {column}");
        connection.execute_batch(&older).expect("an older file");
    }
    connection
}

fn asked() -> Fingerprint {
    Fingerprint::of([b"book".as_slice()])
}

/// A claim that takes over an expired lease.
async fn claim(store: &SqliteStore, hold: &Hold, asked: &Fingerprint) -> Result<Claim, StoreError> {
    store
        .claim(ClaimRequest::new(hold, asked, OnLost::TakeOver))
        .await
}

/// A claim that is won as this attempt, without progress from an earlier run.
fn won(attempt: u32) -> Claim {
    Claim::won(attempt, Bytes::new())
}

async fn complete(store: &SqliteStore, hold: &Hold) {
    assert_eq!(claim(store, hold, &asked()).await.ok(), Some(won(1)));
    let done = store.complete(hold, Bytes::from_static(b"booked")).await;
    assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
}

async fn replays(store: &SqliteStore, key: u8) -> bool {
    matches!(claim(store, &hold(key), &asked()).await, Ok(Claim::Completed { outcome, .. }) if outcome == "booked")
}

/// A database with a table of the application.
async fn with_bookings(path: &Path) -> SqliteDatabase {
    let database = SqliteDatabase::open(path).expect("a database");
    let create = "create table bookings (customer text not null unique) strict";
    let created = database.write(move |connection| connection.execute(create, ()));
    created.await.expect("a table");
    database
}

fn book(connection: &Connection, customer: &str) -> Result<(), rusqlite::Error> {
    connection
        .prepare_cached("insert into bookings (customer) values (?1)")?
        .execute([customer])?;
    Ok(())
}

fn booked(connection: &Connection) -> Result<Vec<String>, rusqlite::Error> {
    connection
        .prepare_cached("select customer from bookings order by rowid")?
        .query_map((), |row| row.get(0))?
        .collect()
}

/// Keeps the writer busy until the sender is dropped, so that later writes are queued.
async fn hold_up(database: &SqliteDatabase) -> mpsc::Sender<()> {
    let (go_on, gone_on) = mpsc::channel::<()>();
    let (started, running) = oneshot::channel();
    let database = database.clone();
    tokio::spawn(async move {
        let waited = database.write(move |_| {
            started.send(()).expect("a test that waits");
            Ok(gone_on.recv().is_err())
        });
        drop(waited.await);
    });
    running.await.expect("the writer runs it");
    go_on
}

/// Polls a call once, so that it begins. It is not done yet.
async fn begin(mut call: Pin<&mut impl Future>) {
    poll_fn(|context| {
        assert!(call.as_mut().poll(context).is_pending());
        Poll::Ready(())
    })
    .await;
}

/// Whether this is ready.
async fn is_ready(future: impl Future<Output = ()>) -> bool {
    let mut future = pin!(future);
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_ready())).await
}
