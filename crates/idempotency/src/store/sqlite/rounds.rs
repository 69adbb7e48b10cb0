//! What becomes of records that a round has moved: in this program a round begins with 64 records.

mod histories;
mod outside;

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use rusqlite::Connection;
use tempfile::TempDir;

use super::{SqliteStore, places::ROUND};
use crate::{
    Clock, Fingerprint, OnLost, Store,
    record::{Phase, RecordId, Token},
    store::{Claim, ClaimRequest, Hold, IfOwner, ListRequest, Resolution},
};

const TTL: Duration = Duration::from_secs(3600);

struct File(TempDir);

impl File {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("keys.db")
    }

    fn open(&self) -> SqliteStore {
        SqliteStore::open(self.path()).expect("a store")
    }

    /// With the store closed.
    fn change(&self, statement: &str) -> usize {
        let connection = Connection::open(self.path()).expect("a connection");
        connection.execute(statement, ()).expect("a change")
    }

    fn count(&self, rows: &str) -> usize {
        let connection = Connection::open(self.path()).expect("a connection");
        let count = format!("select count(*) from {rows}");
        let count = connection.query_row(&count, (), |row| row.get::<_, i64>(0));
        let count = count.expect("a number");
        count.try_into().expect("a count")
    }
}

/// Some of the ids begin alike.
fn id(number: u32) -> RecordId {
    let digest = Fingerprint::of([number.to_be_bytes().as_slice()]);
    let (_, digest) = digest
        .as_bytes()
        .split_first_chunk::<1>()
        .expect("a version");
    let mut id: [u8; 32] = digest.try_into().expect("32 bytes");
    if number.is_multiple_of(3) {
        id[..8].fill(7);
    }
    RecordId::from_bytes(id)
}

fn hold(number: u32) -> Hold {
    let lease = Duration::from_secs(30);
    Hold::new(id(number), Token::random(), lease, TTL)
}

fn asked() -> Fingerprint {
    Fingerprint::of([b"book".as_slice()])
}

fn outcome(number: u32) -> Bytes {
    number.to_string().into()
}

async fn claim(store: &SqliteStore, hold: &Hold) -> Claim {
    let asked = asked();
    let claim = ClaimRequest::new(hold, &asked, OnLost::TakeOver);
    store.claim(claim).await.expect("a claim")
}

async fn complete(store: &SqliteStore, numbers: impl IntoIterator<Item = u32>) {
    for number in numbers {
        let hold = hold(number);
        let won = claim(store, &hold).await;
        assert!(
            matches!(won, Claim::Won { attempt: 1, .. }),
            "{number}: {won:?}"
        );
        let done = store.complete(&hold, outcome(number)).await;
        assert!(matches!(done, Ok(IfOwner::Done(_))), "{number}: {done:?}");
    }
}

async fn assert_stored(store: &SqliteStore, numbers: impl IntoIterator<Item = u32>) {
    for number in numbers {
        let found = store.inspect(&id(number)).await.expect("an inspection");
        let record = found.unwrap_or_else(|| panic!("{number} is there"));
        assert!(
            matches!(&record.phase, Phase::Completed { outcome: found } if *found == outcome(number))
        );
        let replay = claim(store, &hold(number)).await;
        assert!(
            matches!(replay, Claim::Completed { outcome: found, .. } if found == outcome(number))
        );
    }
}

/// Enough for several rounds, and a half.
fn all() -> std::ops::Range<u32> {
    let round = u32::try_from(ROUND).expect("a small number");
    0..5 * round + round / 2
}

// proves: record-gone-last-second, store-clock-decides
#[tokio::test]
async fn no_record_is_missed_while_rounds_move_them_and_after_a_start() {
    let file = File::new();
    let store = file.open();
    for number in all() {
        complete(&store, [number]).await;
        assert_stored(&store, [number, number / 2]).await;
    }
    assert_stored(&store, all()).await;
    drop(store);
    let moved = file.count("idempotency_places where start > x''");
    assert!(moved > 3 * ROUND, "{moved}");
    for _ in 0..2 {
        // A start whose sums are wrong would write them all anew.
        assert_eq!(file.count("idempotency_places where start > x''"), moved);
        let store = file.open();
        assert_stored(&store, all()).await;
        assert_eq!(store.inspect(&id(all().end)).await.ok(), Some(None));
    }
}

// proves: key-state-shown
#[tokio::test]
async fn a_list_has_recent_and_moved_records_in_the_order_of_their_ids() {
    let file = File::new();
    let store = file.open();
    complete(&store, all()).await;
    let mut expected: Vec<_> = all().map(id).collect();
    expected.sort_unstable();
    for limit in [1, 7, 100, 1000] {
        let mut found = Vec::new();
        let mut request = ListRequest::new(limit);
        loop {
            let listed = store.list(&request).await.expect("a list");
            found.extend(listed.iter().map(|listed| listed.id));
            match found.last() {
                Some(last) if listed.len() == limit => request = request.after(*last),
                _ => break,
            }
        }
        assert_eq!(found, expected, "{limit}");
    }
}

// proves: sweep-removes-only-expired
#[tokio::test]
async fn an_operator_and_the_sweep_reach_moved_records_and_leave_no_place_of_them() {
    let file = File::new();
    let clock = Clock::manual();
    let store = file.open().with_clock(clock.clone());
    complete(&store, all()).await;
    let found = store.inspect(&id(1)).await.expect("an inspection");
    let token = found.expect("a record").token;
    let forgotten = store.resolve(&id(1), &token, Resolution::Forget).await;
    assert_eq!(forgotten.ok(), Some(IfOwner::Done(())));
    complete(&store, [1]).await;
    assert_stored(&store, all()).await;

    clock.advance(TTL + Duration::from_secs(1));
    complete(&store, 0..10).await;
    let purged = store.purge_expired(usize::MAX).await;
    assert_eq!(purged.ok(), Some(all().len() - 10));
    assert_stored(&store, 0..10).await;
    complete(&store, 10..20).await;
    drop(store);
    let dangling = "idempotency_places where start > x''
        and place not in (select place from idempotency_records)";
    assert_eq!(file.count(dangling), 0);
    let store = file.open().with_clock(clock);
    assert_stored(&store, 0..20).await;
}
