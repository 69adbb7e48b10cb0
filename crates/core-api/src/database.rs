//! Where bookings are kept, and where their keys are.

mod firestore;
mod memory;
mod postgres;
mod sqlite;
mod transport;

use std::{error::Error, fmt, path::Path, sync::Arc};

use async_trait::async_trait;
use axum::response::Response;
use idempotency::{
    CommitError, Execution, FirestoreStore, MemoryStore, PostgresStore, PostgresStoreError,
    RedisStore, SqliteDatabase, SqliteStore, SqliteStoreError, Store,
};
use uuid::Uuid;

use crate::{
    Config, DatabaseUrl, ServerError, StoreUrl,
    bookings::{Booking, Change},
    secret,
    secret::Secret,
};
use firestore::FirestoreBookings;
use memory::MemoryBookings;
use postgres::PostgresBookings;
use sqlite::SqliteBookings;

/// Bookings, each under its id. Every verb happens as a whole or not at all.
///
/// What writes ends the run of its handler: the change, the key and the answer are one commit where the keys are in the
/// same database.
#[async_trait]
pub(crate) trait Bookings: fmt::Debug + Send + Sync + 'static {
    /// Adds one, whose id is new, and answers with this.
    async fn insert(
        &self,
        booking: Booking,
        execution: &Execution,
        answer: Response,
    ) -> Result<Response, DatabaseError>;

    /// The one with this id.
    async fn get(&self, id: Uuid) -> Result<Option<Booking>, DatabaseError>;

    /// Up to `limit`, newest first, those older than `after` only.
    async fn list(&self, after: Option<Uuid>, limit: u16) -> Result<Vec<Booking>, DatabaseError>;

    /// Changes the one with this id, and answers by what it is now. Where there is none, nothing is committed, so that the key is free.
    async fn change(
        &self,
        id: Uuid,
        change: Change,
        execution: &Execution,
        answer: fn(Option<Booking>) -> Response,
    ) -> Result<Response, DatabaseError>;

    /// Removes the one with this id, and answers by whether there was one. Where there was none, nothing is committed.
    async fn remove(
        &self,
        id: Uuid,
        execution: &Execution,
        answer: fn(bool) -> Response,
    ) -> Result<Response, DatabaseError>;

    /// Whether the database answers and, as far as it can be asked without a write, takes writes.
    async fn ping(&self) -> Result<(), DatabaseError>;

    /// Writes and takes it back, where only that tells whether the database takes writes.
    async fn try_to_write(&self) -> Result<(), DatabaseError> {
        Ok(())
    }
}

/// Why bookings cannot be read or written right now.
#[derive(Debug)]
pub(crate) enum DatabaseError {
    /// SQLite says no.
    Sqlite(SqliteStoreError),
    /// PostgreSQL says no.
    Postgres(sqlx::Error),
    /// The PostgreSQL server cannot be used.
    PostgresServer(PostgresStoreError),
    /// Firestore says no, to bookings, in these words.
    Firestore(String),
    /// Firestore says no, to keys.
    FirestoreStore(idempotency::FirestoreStoreError),
    /// The change was not committed, or not for certain.
    Commit(CommitError),
    /// The database does not say anything.
    Silent,
    /// Whoever is on the way to PostgreSQL could get the password.
    Unprotected,
    /// Another version of this service has made the tables.
    Schema { found: i64, known: i64 },
}

/// Bookings and keys, as the options name them.
pub(crate) struct Opened {
    pub(crate) bookings: Arc<dyn Bookings>,
    pub(crate) store: Arc<dyn Store>,
    /// Whether a booking's transaction can carry its key.
    pub(crate) transactional: bool,
    /// With what the keys are stored.
    pub(crate) secret: Option<Secret>,
}

/// Where keys are, as far as their secret depends on it.
enum Keys<'a> {
    Memory(MemoryStore),
    Sqlite(SqliteStore, &'a Path),
    Server(Arc<dyn Store>),
}

/// Opens what the options name.
///
/// With `--idempotency-store same` a booking, its key and its answer are one commit, if the database has transactions.
/// Otherwise the key is claimed before the booking and completed after it, under a lease.
pub(crate) async fn open(config: &Config) -> Result<Opened, ServerError> {
    transport::check(config)?;
    let database =
        |error: DatabaseError| ServerError::Database(config.database.to_string(), Box::new(error));
    let store = |error: Box<dyn Error + Send + Sync>| {
        ServerError::IdempotencyStore(config.idempotency_store.to_string(), error)
    };
    let sqlite_store = |error: SqliteStoreError| store(Box::new(DatabaseError::from(error)));
    let postgres_store = |error: PostgresStoreError| store(Box::new(DatabaseError::from(error)));

    let (bookings, same): (Arc<dyn Bookings>, Keys<'_>) = match &config.database {
        DatabaseUrl::Memory => (
            Arc::new(MemoryBookings::default()),
            Keys::Memory(MemoryStore::new()),
        ),
        DatabaseUrl::Sqlite(path) => {
            let file = SqliteDatabase::open(path).map_err(|error| database(error.into()))?;
            let bookings = SqliteBookings::new(file.clone()).await.map_err(database)?;
            let keys = SqliteStore::new(file).map_err(sqlite_store)?;
            (Arc::new(bookings), Keys::Sqlite(keys, path))
        }
        DatabaseUrl::Postgres(url) => {
            let keys = PostgresStore::new(postgres::pool(url).await.map_err(database)?);
            // First, because it says so where a server only reads.
            let created = keys.create_schema().await;
            created.map_err(|error| database(error.into()))?;
            let bookings = PostgresBookings::new(&keys).await.map_err(database)?;
            (Arc::new(bookings), Keys::Server(Arc::new(keys)))
        }
        DatabaseUrl::Firestore(project) => {
            let keys = FirestoreStore::connect(project).await;
            let keys = keys.map_err(|error| database(error.into()))?;
            let bookings = FirestoreBookings::connect(project, keys.database().clone()).await;
            (
                Arc::new(bookings.map_err(database)?),
                Keys::Server(Arc::new(keys)),
            )
        }
    };
    let transactional =
        config.idempotency_store == StoreUrl::Same && config.database != DatabaseUrl::Memory;
    let keys = match &config.idempotency_store {
        StoreUrl::Same => same,
        StoreUrl::Memory => Keys::Memory(MemoryStore::new()),
        // The same file cannot be opened twice.
        StoreUrl::Sqlite(path) if config.database == DatabaseUrl::Sqlite(path.clone()) => same,
        StoreUrl::Sqlite(path) => {
            Keys::Sqlite(SqliteStore::open(path).map_err(sqlite_store)?, path)
        }
        StoreUrl::Postgres(url) => {
            let connected = PostgresStore::connect(url.expose()).await;
            Keys::Server(Arc::new(connected.map_err(postgres_store)?))
        }
        StoreUrl::Redis(url) => {
            let opened = RedisStore::connect(url.expose()).await;
            Keys::Server(Arc::new(opened.map_err(|error| store(Box::new(error)))?))
        }
        StoreUrl::Firestore(project) => {
            let keys = FirestoreStore::connect(project).await;
            let keys = keys.map_err(|error| store(Box::new(DatabaseError::from(error))))?;
            Keys::Server(Arc::new(keys))
        }
    };
    let named = config.secret_file.as_deref();
    let (store, secret): (Arc<dyn Store>, _) = match keys {
        Keys::Memory(store) => (Arc::new(store), Some(secret::of_memory()?)),
        Keys::Sqlite(store, path) => {
            let secret = secret::of_sqlite(&store, path, named).await?;
            (Arc::new(store), secret)
        }
        Keys::Server(store) => (store, secret::of_server(named)?),
    };
    Ok(Opened {
        bookings,
        store,
        transactional,
        secret,
    })
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(SqliteStoreError::InUse { .. }) => formatter.write_str(
                "the file is open already, in another process or for another option of this one; \
                 stop the other process, or name another file",
            ),
            Self::Sqlite(error) => error.fmt(formatter),
            Self::Postgres(error) => error.fmt(formatter),
            Self::PostgresServer(error) => error.fmt(formatter),
            Self::Firestore(text) => formatter.write_str(text),
            Self::FirestoreStore(error) => error.fmt(formatter),
            Self::Commit(error) => error.fmt(formatter),
            Self::Silent => formatter.write_str("it does not answer in time"),
            Self::Unprotected => formatter.write_str(
                "the server is not on this machine, and with the sslmode prefer, which is the default, the password can go \
                 there unencrypted; add ?sslmode=verify-full to the URL, with &sslrootcert=FILE for an authority of your \
                 own, or name another sslmode if the network is to be trusted",
            ),
            Self::Schema { found, known } => write!(
                formatter,
                "its tables have version {found}, and this program knows version {known} only",
            ),
        }
    }
}

impl Error for DatabaseError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Sqlite(error) => error.source(),
            Self::Postgres(error) => error.source(),
            Self::PostgresServer(error) => error.source(),
            Self::FirestoreStore(error) => error.source(),
            Self::Commit(error) => error.source(),
            Self::Firestore(_) | Self::Silent | Self::Unprotected | Self::Schema { .. } => None,
        }
    }
}

impl From<idempotency::FirestoreStoreError> for DatabaseError {
    fn from(error: idempotency::FirestoreStoreError) -> Self {
        Self::FirestoreStore(error)
    }
}

impl From<SqliteStoreError> for DatabaseError {
    fn from(error: SqliteStoreError) -> Self {
        Self::Sqlite(error)
    }
}

impl From<CommitError> for DatabaseError {
    fn from(error: CommitError) -> Self {
        Self::Commit(error)
    }
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        Self::Postgres(error)
    }
}

impl From<PostgresStoreError> for DatabaseError {
    fn from(error: PostgresStoreError) -> Self {
        Self::PostgresServer(error)
    }
}
