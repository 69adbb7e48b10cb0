//! Handlers that commit their bookings with the key, over each database that can do it.

mod commits;
mod duplicates;
mod failures;
mod leases;
mod outcomes;

use std::sync::Arc;

use axum::{
    Extension, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use idempotency::{
    CommitError, Execution, Expected, FirestoreDatabase, FirestoreStore, Idempotency,
    IdempotencyKey, Outcome, PostgresStore, Record, RecordId, Scope, SqliteDatabase, SqliteStore,
    Store, idempotent,
};
use parking_lot::Mutex;
use rstest_reuse::template;
use serde_json::json;
use sqlx::{PgPool, Row, postgres::PgPoolOptions, query, raw_sql};
use tempfile::TempDir;
use tests::servers::{
    firestore::{Documents, FirestoreEmulator},
    postgres::PostgresServer,
};
use tokio::{net::TcpListener, sync::Semaphore, task::JoinHandle};

use crate::within_a_minute;

/// A database to test with.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Sqlite,
    Postgres,
    Firestore,
}

#[template]
#[rstest::rstest]
#[case::sqlite(Kind::Sqlite)]
#[case::postgres(Kind::Postgres)]
#[case::firestore(Kind::Firestore)]
fn each_database(#[case] kind: Kind) {}

/// Bookings, one row for each guest: a second one of the same guest is an error.
#[derive(Clone, Debug)]
enum Database {
    Sqlite(SqliteDatabase),
    Postgres(PgPool),
    Firestore(FirestoreDatabase, Documents),
}

const CREATE: &str = "create table bookings (guest text primary key)";

/// A database of the test's own, which goes with this.
struct World {
    database: Database,
    url: String,
    folder: TempDir,
}

/// One service over the database: an engine, a server and a client.
#[derive(Clone)]
struct Service {
    database: Database,
    idempotency: Idempotency,
    levers: Arc<Levers>,
    address: String,
    client: reqwest::Client,
}

/// Where the handlers of a service stop, and what they have seen.
#[derive(Debug)]
struct Levers {
    arrived: Semaphore,
    pass: Semaphore,
    attempts: Mutex<Vec<u32>>,
    failures: Mutex<Vec<String>>,
}

/// An answer, read to its end.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    is_replayed: bool,
    body: String,
}

impl World {
    /// None where there is no such server.
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
            Kind::Postgres => {
                let url = server()?.database().await;
                (Database::Postgres(pool(&url).await), url)
            }
            Kind::Firestore => {
                let emulator = FirestoreEmulator::shared()?;
                let project = format!("rooms-{}", uuid::Uuid::new_v4().simple());
                let address = emulator.address();
                let database = FirestoreDatabase::connect_to_emulator(&project, &address).await;
                let documents = Documents::new(&address, &project);
                let database = database.expect("a database");
                (Database::Firestore(database, documents), project)
            }
        };
        match &database {
            Database::Sqlite(file) => file
                .write(|connection| connection.execute_batch(CREATE))
                .await
                .expect("a table"),
            Database::Postgres(pool) => {
                raw_sql(CREATE).execute(pool).await.expect("a table");
                let store = PostgresStore::new(pool.clone());
                store.create_schema().await.expect("tables");
            }
            Database::Firestore(..) => {}
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
            Database::Postgres(pool) => Arc::new(PostgresStore::new(pool.clone())),
            Database::Firestore(database, _) => Arc::new(FirestoreStore::new(database.clone())),
        }
    }

    /// A service whose keys are there too.
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
                removed.await.expect("an answer");
            }
            Database::Postgres(pool) => {
                let remove = query("delete from bookings where guest = $1").bind(guest);
                remove.execute(pool).await.expect("an answer");
            }
            Database::Firestore(database, _) => {
                let delete = database.transaction();
                let delete = delete.delete(&format!("bookings/{guest}"), Expected::Present);
                let deleted = Execution::unprotected().commit(delete, ()).await;
                deleted.expect("an answer");
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
            Database::Postgres(pool) => {
                let rows = raw_sql(GUESTS).fetch_all(pool).await.expect("guests");
                rows.iter().map(|row| row.get(0)).collect()
            }
            Database::Firestore(_, documents) => {
                let bookings = documents.of("bookings").await;
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
    /// Commits a booking of this guest, with this answer.
    async fn book(
        &self,
        execution: &Execution,
        guest: &str,
        answer: impl IntoResponse + Send,
    ) -> Result<Response, CommitError> {
        let guest = guest.to_owned();
        match self {
            Self::Sqlite(file) => {
                let insert = file.transaction(move |connection| {
                    connection.execute("insert into bookings values (?1)", [guest])
                });
                execution.commit(insert, answer).await
            }
            Self::Postgres(pool) => {
                let failed = |error: sqlx::Error| CommitError::Failed(error.into());
                let mut transaction = pool.begin().await.map_err(failed)?;
                let insert = query("insert into bookings values ($1)").bind(guest);
                insert.execute(&mut *transaction).await.map_err(failed)?;
                execution.commit(transaction, answer).await
            }
            Self::Firestore(database, _) => {
                let path = format!("bookings/{guest}");
                let create = database
                    .transaction()
                    .create(&path, &json!({ "nights": 1 }));
                execution.commit(create, answer).await
            }
        }
    }
}

#[idempotent(ttl_seconds = 3600, transactional)]
async fn book(
    State(service): State<Service>,
    Path(what): Path<String>,
    execution: Execution,
    guest: String,
) -> Result<Response, CommitError> {
    service.carry_out(&what, &execution, &guest).await
}

#[idempotent(ttl_seconds = 3600, transactional, on_duplicate = "wait")]
async fn book_patiently(
    State(service): State<Service>,
    Path(what): Path<String>,
    execution: Execution,
    guest: String,
) -> Result<Response, CommitError> {
    service.carry_out(&what, &execution, &guest).await
}

#[idempotent(ttl_seconds = 3600, lease_seconds = 2)]
async fn book_under_a_lease(
    State(service): State<Service>,
    Path(what): Path<String>,
    execution: Execution,
    guest: String,
) -> Result<Response, CommitError> {
    service.carry_out(&what, &execution, &guest).await
}

impl Service {
    async fn start(database: Database, store: Arc<dyn Store>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let service = Self {
            database,
            idempotency: Idempotency::builder(store).build(),
            levers: Arc::new(Levers {
                arrived: Semaphore::new(0),
                pass: Semaphore::new(0),
                attempts: Mutex::default(),
                failures: Mutex::default(),
            }),
            address: format!("http://{}", listener.local_addr().expect("an address")),
            client: reqwest::Client::new(),
        };
        let router = Router::new()
            .route("/book/{what}", post(book))
            .route("/patient/{what}", post(book_patiently))
            .route("/leased/{what}", post(book_under_a_lease))
            .with_state(service.clone())
            .layer(Extension(service.idempotency.clone()));
        tokio::spawn(async { axum::serve(listener, router).await });
        service
    }

    /// Sends a request with this key, and reads its answer.
    async fn send(&self, path: &str, key: &str, guest: &str) -> Answer {
        let request = self.client.post(format!("{}{path}", self.address));
        let request = request.header("idempotency-key", key);
        let response = request.body(guest.to_owned()).send().await;
        let response = response.expect("an answer");
        Answer {
            status: response.status().as_u16(),
            is_replayed: response.headers().contains_key("idempotent-replayed"),
            body: response.text().await.expect("a body"),
        }
    }

    /// The same, while the test goes on.
    fn sending(&self, path: &str, key: &str, guest: &str) -> JoinHandle<Answer> {
        let (service, path, key, guest) = (
            self.clone(),
            path.to_owned(),
            key.to_owned(),
            guest.to_owned(),
        );
        tokio::spawn(async move { service.send(&path, &key, &guest).await })
    }

    /// Returns once a handler that stops is there; each is seen once.
    async fn arrived(&self) {
        let arrived = within_a_minute("a handler that stops", self.levers.arrived.acquire()).await;
        arrived.expect("an open semaphore").forget();
    }

    /// Lets one of those go on.
    fn pass(&self) {
        self.levers.pass.add_permits(1);
    }

    /// How often a handler has begun.
    fn runs(&self) -> usize {
        self.levers.attempts.lock().len()
    }

    fn id(&self, key: &str) -> RecordId {
        let key = IdempotencyKey::new(key).expect("a key");
        self.idempotency.record_id(&Scope::anonymous(), &key)
    }

    async fn record(&self, key: &str) -> Option<Record> {
        let found = self.idempotency.store().inspect(&self.id(key)).await;
        found.expect("a store that answers")
    }

    /// What a handler does that is to end in this way.
    async fn carry_out(
        &self,
        what: &str,
        execution: &Execution,
        guest: &str,
    ) -> Result<Response, CommitError> {
        self.levers.attempts.lock().push(execution.attempt());
        let answer = (StatusCode::CREATED, format!("{guest} has a room"));
        match what {
            "stop" => {
                self.levers.arrived.add_permits(1);
                self.levers.pass.acquire().await.expect("a gate").forget();
                self.book(execution, guest, answer).await
            }
            "forget" => Ok(answer.into_response()),
            "do-nothing" => Ok((Extension(Outcome::Release), answer).into_response()),
            "refuse" => Ok((StatusCode::CONFLICT, "no room").into_response()),
            "fail" => Ok(StatusCode::INTERNAL_SERVER_ERROR.into_response()),
            "hide" => {
                self.book(execution, guest, answer).await?;
                Ok((StatusCode::INTERNAL_SERVER_ERROR, "the mail was not sent").into_response())
            }
            "panic" => {
                self.book(execution, guest, answer).await?;
                panic!("after the commit");
            }
            "twice" => {
                self.book(execution, guest, answer).await?;
                self.book(execution, "somebody else", "again").await
            }
            "give-up" => {
                // Polled once, and then dropped with the commit on its way.
                let mut commit = Box::pin(self.book(execution, guest, answer));
                drop(futures_util::poll!(&mut commit));
                drop(commit);
                Ok(StatusCode::GATEWAY_TIMEOUT.into_response())
            }
            _ => self.book(execution, guest, answer).await,
        }
    }

    async fn book(
        &self,
        execution: &Execution,
        guest: &str,
        answer: impl IntoResponse + Send,
    ) -> Result<Response, CommitError> {
        let booked = self.database.book(execution, guest, answer).await;
        if let Err(error) = &booked {
            self.levers.failures.lock().push(error.to_string());
        }
        booked
    }
}
