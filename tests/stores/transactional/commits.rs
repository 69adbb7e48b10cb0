//! What a booking with a key costs in addition to one without: no further commit, and so no further sync of the disk.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use idempotency::PostgresStore;
use rstest::rstest;
use sqlx::{
    Row,
    postgres::{PgConnectOptions, PgPoolOptions, PgSslMode},
    query, raw_sql,
};
use tests::servers::postgres::PostgresServer;

use super::{Client, Database, Kind, Service, TransactionalApp};
use crate::postgres::round_trips::counting;

const BOOKINGS: usize = 20;

// proves: rows-and-key-commit-together
#[rstest]
#[case::sqlite(Kind::Sqlite)]
#[case::postgres(Kind::POSTGRES)]
#[case::tokio_postgres(Kind::TOKIO_POSTGRES)]
#[tokio::test]
async fn a_booking_with_a_key_is_one_commit_as_one_without(#[case] kind: Kind) {
    let Some(app) = TransactionalApp::alone(kind).await else {
        return;
    };
    let service = app.service().await;
    let without = app.commits_of(&service, None).await;
    assert_eq!(without, BOOKINGS);
    let with = app.commits_of(&service, Some("/book/now")).await;
    assert_eq!(with, BOOKINGS);
    // This shows that the count works: a lease takes one commit for the claim, and the booking's commit completes it.
    let leased = app.commits_of(&service, Some("/leased/now")).await;
    assert_eq!(leased, 2 * BOOKINGS);
    assert_eq!(app.guests().await.len(), 3 * BOOKINGS);
}

// proves: replay-never-extends-ttl
#[rstest]
#[case::sqlite(Kind::Sqlite)]
#[case::postgres(Kind::POSTGRES)]
#[tokio::test]
async fn a_replay_commits_nothing(#[case] kind: Kind) {
    let Some(app) = TransactionalApp::alone(kind).await else {
        return;
    };
    let service = app.service().await;
    assert_eq!(service.send("/book/now", "k", "Ann").await.status, 201);
    let before = app.commits().await;
    for _ in 0..BOOKINGS {
        assert!(service.send("/book/now", "k", "Ann").await.is_replay());
    }
    assert_eq!(app.commits().await, before);
}

/// The booking's own are its begin, its insert and its commit, and what its pool asks before it lends a connection and
/// when it gets it back.
// proves: rows-and-key-commit-together
#[tokio::test]
async fn a_booking_with_a_key_takes_two_round_trips_more_than_one_without() {
    let Some(app) = TransactionalApp::new(Kind::POSTGRES).await else {
        return;
    };
    let server = PostgresServer::shared().expect("a server");
    let trips = Arc::new(AtomicUsize::new(0));
    let port = counting(server.port(), Arc::clone(&trips)).await;
    let options: PgConnectOptions = app.url.parse().expect("a URL");
    let options = options.port(port).ssl_mode(PgSslMode::Disable);
    let pool = PgPoolOptions::new().max_connections(1);
    let pool = pool.connect_lazy_with(options);
    let store = Arc::new(PostgresStore::new(pool.clone()));
    let database = Database::Postgres(pool.clone(), Client::Sqlx09(pool.clone()));
    let service = Service::start(database, store).await;
    let mut counted = Vec::new();
    for round in 0..5 {
        trips.store(0, Ordering::SeqCst);
        let mut transaction = pool.begin().await.expect("a transaction");
        let insert = query("insert into bookings values ($1)").bind(format!("a{round}"));
        insert.execute(&mut *transaction).await.expect("a booking");
        transaction.commit().await.expect("a commit");
        // The next request gets the connection once it is back in the pool.
        drop(pool.acquire().await.expect("a connection"));
        let without = trips.swap(0, Ordering::SeqCst);
        let (key, guest) = (format!("k{round}"), format!("b{round}"));
        let booked = service.send("/book/now", &key, &guest).await;
        assert_eq!(booked.status, 201, "{booked:?}");
        drop(pool.acquire().await.expect("a connection"));
        counted.push((trips.load(Ordering::SeqCst), without));
    }
    // The connection and its prepared statements are made once, in the warm-up.
    let more = counted
        .iter()
        .map(|(with, without)| with.saturating_sub(*without));
    assert_eq!(more.min(), Some(2), "{counted:?}");
}

impl TransactionalApp {
    /// On a server where no other session commits meanwhile.
    async fn alone(kind: Kind) -> Option<Self> {
        // It ends with this process.
        let start = || PostgresServer::start().map(|server| &*Box::leak(Box::new(server)));
        Self::on(kind, start).await
    }

    /// How many commits these sequential bookings take.
    async fn commits_of(&self, service: &Service, path: Option<&str>) -> usize {
        let before = self.commits().await;
        for number in 0..BOOKINGS {
            let key = format!("{}-{number}", path.map_or("none", |path| &path[1..4]));
            let url = format!("{}{}", service.address, path.unwrap_or("/book/now"));
            let mut request = service.client.post(url).body(key.clone());
            if path.is_some() {
                request = request.header("idempotency-key", key);
            }
            let response = request.send().await.expect("a response");
            assert_eq!(response.status(), 201);
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
            // The id that the next writing transaction will get.
            Database::Postgres(pool, _) => {
                let next = "select pg_snapshot_xmax(pg_current_snapshot())::text";
                let row = raw_sql(next).fetch_one(pool).await.expect("a reply");
                row.get::<String, _>(0).parse().expect("a number")
            }
            // Its calls are counted together with the store's.
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
