//! What a booking with a key costs beyond one without: no commit, and so no sync of the disk.

use std::fs;

use rstest::rstest;
use sqlx::{Row, raw_sql};
use tests::servers::postgres::PostgresServer;

use super::{Database, Kind, Service, World};

const BOOKINGS: usize = 20;

// behaviour 132
#[rstest]
#[case::sqlite(Kind::Sqlite)]
#[case::postgres(Kind::Postgres)]
#[tokio::test]
async fn a_booking_with_a_key_is_one_commit_as_one_without(#[case] kind: Kind) {
    let Some(world) = World::alone(kind).await else {
        return;
    };
    let service = world.service().await;
    let without = world.commits_of(&service, None).await;
    assert_eq!(without, BOOKINGS);
    let with = world.commits_of(&service, Some("/book/now")).await;
    assert_eq!(with, BOOKINGS);
    // So that this is known to count: a lease takes one for the claim, and the booking completes it.
    let leased = world.commits_of(&service, Some("/leased/now")).await;
    assert_eq!(leased, 2 * BOOKINGS);
    assert_eq!(world.guests().await.len(), 3 * BOOKINGS);
}

// behaviour 96
#[rstest]
#[case::sqlite(Kind::Sqlite)]
#[case::postgres(Kind::Postgres)]
#[tokio::test]
async fn a_replay_commits_nothing(#[case] kind: Kind) {
    let Some(world) = World::alone(kind).await else {
        return;
    };
    let service = world.service().await;
    assert_eq!(service.send("/book/now", "k", "Ann").await.status, 201);
    let before = world.commits().await;
    for _ in 0..BOOKINGS {
        assert!(service.send("/book/now", "k", "Ann").await.is_replayed);
    }
    assert_eq!(world.commits().await, before);
}

impl World {
    /// On a server where nobody else commits anything meanwhile.
    async fn alone(kind: Kind) -> Option<Self> {
        // It ends with this process.
        let start = || PostgresServer::start().map(|server| &*Box::leak(Box::new(server)));
        Self::on(kind, start).await
    }

    /// How many commits these bookings take, one after the other.
    async fn commits_of(&self, service: &Service, path: Option<&str>) -> usize {
        let before = self.commits().await;
        for number in 0..BOOKINGS {
            let key = format!("{}-{number}", path.map_or("none", |path| &path[1..4]));
            let url = format!("{}{}", service.address, path.unwrap_or("/book/now"));
            let mut request = service.client.post(url).body(key.clone());
            if path.is_some() {
                request = request.header("idempotency-key", key);
            }
            let answer = request.send().await.expect("an answer");
            assert_eq!(answer.status(), 201);
        }
        self.commits().await - before
    }

    /// A count that goes up by one for each transaction that has written.
    async fn commits(&self) -> usize {
        match &self.database {
            Database::Sqlite(_) => {
                let log = fs::read(self.folder.path().join("bookings.db-wal"));
                commits_in(&log.expect("a write-ahead log"))
            }
            // The next number that a transaction that writes will have.
            Database::Postgres(pool) => {
                let next = "select pg_snapshot_xmax(pg_current_snapshot())::text";
                let row = raw_sql(next).fetch_one(pool).await.expect("an answer");
                row.get::<String, _>(0).parse().expect("a number")
            }
            // Its calls are counted beside the store's.
            Database::Firestore(_) => unreachable!("it is no case here"),
        }
    }
}

/// The frames of a write-ahead log that end a commit: those that say how large the database is after it.
/// <https://sqlite.org/fileformat2.html#walformat>
fn commits_in(log: &[u8]) -> usize {
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().expect("four bytes"));
    let (header, frames) = log.split_at(32);
    let page = number(&header[8..12]) as usize;
    let frames = frames.chunks_exact(24 + page);
    let current = frames.take_while(|frame| frame[8..16] == header[16..24]);
    current.filter(|frame| number(&frame[4..8]) != 0).count()
}
