//! Handlers that commit their bookings with the key, over each database that can do it.

mod clients;
mod commits;
mod duplicates;
mod elsewhere;
mod failures;
mod firestore;
mod freed;
mod labels;
mod leases;
mod locks;
mod misuse;
mod outcomes;
mod pooled;
mod retried;
mod service;
mod wrappers;

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use idempotency::{
    CommitError, Execution, FirestoreDatabase, FirestoreStore, PostgresStore, SqliteDatabase,
    SqliteStore, Store, store::FirestorePrecondition,
};
use rstest_reuse::template;
use serde_json::json;
use sqlx::{PgPool, Row, postgres::PgPoolOptions, query, raw_sql};
use tempfile::TempDir;
use tests::servers::{
    firestore::{Documents, FirestoreEmulator},
    postgres::PostgresServer,
};

use clients::{Client, ClientKind, Way};
use service::{HandlerProbe, Service};

/// A database to test with.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Sqlite,
    Postgres(ClientKind),
    Firestore,
}

impl Kind {
    /// With the client that the store uses too.
    const POSTGRES: Self = Self::Postgres(ClientKind::Sqlx09);
    const SQLX_0_8: Self = Self::Postgres(ClientKind::Sqlx08);
    const TOKIO_POSTGRES: Self = Self::Postgres(ClientKind::TokioPostgres);
}

#[template]
#[rstest::rstest]
#[case::sqlite(Kind::Sqlite)]
#[case::postgres(Kind::POSTGRES)]
#[case::tokio_postgres(Kind::TOKIO_POSTGRES)]
#[case::firestore(Kind::Firestore)]
fn each_database(#[case] kind: Kind) {}

/// The clients of PostgreSQL that the library implements separately: one macro implements both versions of sqlx.
#[template]
#[rstest::rstest]
#[case::sqlx(ClientKind::Sqlx09)]
#[case::tokio_postgres(ClientKind::TokioPostgres)]
fn each_driver(#[case] client: ClientKind) {}

/// The clients of PostgreSQL.
#[template]
#[rstest::rstest]
#[case::sqlx_0_9(ClientKind::Sqlx09)]
#[case::sqlx_0_8(ClientKind::Sqlx08)]
#[case::tokio_postgres(ClientKind::TokioPostgres)]
fn each_client(#[case] client: ClientKind) {}

/// Bookings, one row for each guest: a second one of the same guest is an error.
#[derive(Clone, Debug)]
enum Database {
    Sqlite(SqliteDatabase),
    /// This client, and a pool next to it for all other queries.
    Postgres(PgPool, Client),
    Firestore(Box<(FirestoreDatabase, Documents)>),
}

const CREATE: &str = "create table bookings (guest text primary key)";

/// A database for this test, which is removed with this value.
struct TransactionalApp {
    database: Database,
    url: String,
    folder: TempDir,
}

impl TransactionalApp {
    /// `None` where there is no such server.
    async fn new(kind: Kind) -> Option<Self> {
        Self::on(kind, PostgresServer::shared).await
    }

    async fn on(
        kind: Kind,
        server: impl FnOnce() -> Option<&'static PostgresServer>,
    ) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let (database, url) = match kind {
            Kind::Sqlite => {
                let file = SqliteDatabase::open(folder.path().join("bookings.db"));
                (Database::Sqlite(file.expect("a file")), String::new())
            }
            Kind::Postgres(client) => {
                let url = server()?.database().await;
                let client = Client::new(client, &url, 10).await;
                (Database::Postgres(pool(&url).await, client), url)
            }
            Kind::Firestore => {
                let emulator = FirestoreEmulator::shared()?;
                let project = format!("rooms-{}", uuid::Uuid::new_v4().simple());
                let address = emulator.address();
                let database = FirestoreDatabase::connect_to_emulator(&project, &address).await;
                let documents = Documents::new(&address, &project);
                let database = database.expect("a database");
                (
                    Database::Firestore(Box::new((database, documents))),
                    project,
                )
            }
        };
        match &database {
            Database::Sqlite(file) => file
                .write(|connection| connection.execute_batch(CREATE))
                .await
                .expect("a table"),
            Database::Postgres(pool, _) => {
                raw_sql(CREATE).execute(pool).await.expect("a table");
                let store = PostgresStore::new(pool.clone());
                store.create_schema().await.expect("tables");
            }
            Database::Firestore(_) => {}
        }
        Some(Self {
            database,
            url,
            folder,
        })
    }

    /// A store in the database.
    fn store(&self) -> Arc<dyn Store> {
        match &self.database {
            Database::Sqlite(file) => Arc::new(SqliteStore::new(file.clone()).expect("a store")),
            Database::Postgres(pool, _) => Arc::new(PostgresStore::new(pool.clone())),
            Database::Firestore(there) => Arc::new(FirestoreStore::new(there.0.clone())),
        }
    }

    /// The pool for all queries that are not bookings.
    fn admin(&self) -> &PgPool {
        match &self.database {
            Database::Postgres(pool, _) => pool,
            other => panic!("{other:?} has no pool"),
        }
    }

    /// A service whose keys are in the same database.
    async fn service(&self) -> Service {
        Service::start(self.database.clone(), self.store()).await
    }

    /// Takes a booking away.
    async fn remove(&self, guest: &'static str) {
        match &self.database {
            Database::Sqlite(file) => {
                let removed = file.write(move |connection| {
                    connection.execute("delete from bookings where guest = ?1", [guest])
                });
                removed.await.expect("a reply");
            }
            Database::Postgres(pool, _) => {
                let remove = query("delete from bookings where guest = $1").bind(guest);
                remove.execute(pool).await.expect("a reply");
            }
            Database::Firestore(there) => {
                let delete = there.0.transaction();
                let delete = delete.delete("bookings", guest, FirestorePrecondition::Exists);
                let deleted = Execution::unprotected().commit(delete, ()).await;
                deleted.expect("a reply");
            }
        }
    }

    async fn guests(&self) -> Vec<String> {
        const GUESTS: &str = "select guest from bookings order by guest";
        match &self.database {
            Database::Sqlite(file) => {
                let guests = file.read(|connection| {
                    let mut guests = connection.prepare(GUESTS)?;
                    guests.query_map((), |row| row.get(0))?.collect()
                });
                guests.await.expect("guests")
            }
            Database::Postgres(pool, _) => {
                let rows = raw_sql(GUESTS).fetch_all(pool).await.expect("guests");
                rows.iter().map(|row| row.get(0)).collect()
            }
            Database::Firestore(there) => {
                let bookings = there.1.of("bookings").await;
                let guest = |name: &str| name.rsplit('/').next().map(str::to_owned);
                let guests = bookings.iter().filter_map(|it| guest(&it.name));
                guests.collect()
            }
        }
    }
}

async fn pool(url: &str) -> PgPool {
    let pool = PgPoolOptions::new().max_connections(10).connect(url).await;
    pool.expect("a pool")
}

impl Database {
    /// Commits a booking of this guest, with this response.
    async fn book(
        &self,
        probe: &HandlerProbe,
        execution: &Execution,
        guest: &str,
        reply: impl IntoResponse + Send,
    ) -> Result<Response, CommitError> {
        let guest = guest.to_owned();
        match self {
            Self::Sqlite(file) => {
                let insert = file.transaction(move |connection| {
                    connection.execute("insert into bookings values (?1)", [guest])
                });
                execution.commit(insert, reply).await
            }
            Self::Postgres(_, client) => {
                let reply = reply.into_response();
                let booked = client.book(Way::Plainly, probe, execution, &guest, reply);
                booked.await
            }
            Self::Firestore(there) => {
                let create = there.0.transaction();
                let create = create.create("bookings", &guest, &json!({ "nights": 1 }));
                execution.commit(create, reply).await
            }
        }
    }
}
