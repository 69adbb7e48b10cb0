//! Where bookings are kept, and where their keys are.

mod firestore;
mod memory;
mod sqlite;

use std::{error::Error, fmt, sync::Arc};

use ::firestore::errors::FirestoreError;
use async_trait::async_trait;
use idempotency::{FirestoreStore, MemoryStore, SqliteDatabase, SqliteError, SqliteStore, Store};
use uuid::Uuid;

use crate::{
    Config, DatabaseUrl, ServerError, StoreUrl,
    bookings::{Booking, Change},
};
use firestore::FirestoreBookings;
use memory::MemoryBookings;
use sqlite::SqliteBookings;

/// Bookings, each under its id. Every verb happens as a whole or not at all.
#[async_trait]
pub(crate) trait Bookings: fmt::Debug + Send + Sync + 'static {
    /// Adds one; its id is new.
    async fn insert(&self, booking: Booking) -> Result<(), DatabaseError>;

    /// The one with this id.
    async fn get(&self, id: Uuid) -> Result<Option<Booking>, DatabaseError>;

    /// Up to `limit`, newest first, those older than `after` only.
    async fn list(&self, after: Option<Uuid>, limit: u16) -> Result<Vec<Booking>, DatabaseError>;

    /// Changes the one with this id, and returns what it is now.
    async fn change(&self, id: Uuid, change: Change) -> Result<Option<Booking>, DatabaseError>;

    /// Removes the one with this id; false if there is none.
    async fn remove(&self, id: Uuid) -> Result<bool, DatabaseError>;

    /// Whether the database answers.
    async fn ping(&self) -> Result<(), DatabaseError>;
}

/// Why bookings cannot be read or written right now.
#[derive(Debug)]
pub(crate) enum DatabaseError {
    /// SQLite says no.
    Sqlite(SqliteError),
    /// Firestore says no, to bookings.
    Firestore(Box<FirestoreError>),
    /// Firestore says no, to keys.
    FirestoreStore(idempotency::FirestoreError),
    /// The database does not say anything.
    Silent,
    /// Another version of this service has made the tables.
    Schema { found: i64 },
}

/// Opens what the options name.
///
/// With `--idempotency-store same` the keys share the bookings' file: one writer for both, so that a claim,
/// a booking and an answer that come together cost one sync of the disk. They are still three steps, for the
/// key is claimed in lease mode.
pub(crate) async fn open(
    config: &Config,
) -> Result<(Arc<dyn Bookings>, Arc<dyn Store>), ServerError> {
    let database =
        |error: DatabaseError| ServerError::Database(config.database.to_string(), Box::new(error));
    let store = |error: DatabaseError| {
        ServerError::IdempotencyStore(config.idempotency_store.to_string(), Box::new(error))
    };

    let (bookings, same): (Arc<dyn Bookings>, Arc<dyn Store>) = match &config.database {
        DatabaseUrl::Memory => (
            Arc::new(MemoryBookings::default()),
            Arc::new(MemoryStore::new()),
        ),
        DatabaseUrl::Sqlite(path) => {
            let file = SqliteDatabase::open(path).map_err(|error| database(error.into()))?;
            let bookings = SqliteBookings::new(file.clone()).await.map_err(database)?;
            (
                Arc::new(bookings),
                Arc::new(SqliteStore::new(file).map_err(|error| store(error.into()))?),
            )
        }
        DatabaseUrl::Firestore(project) => {
            let keys = FirestoreStore::connect(project).await;
            let keys = keys.map_err(|error| database(error.into()))?;
            let bookings = FirestoreBookings::connect(project).await;
            (Arc::new(bookings.map_err(database)?), Arc::new(keys))
        }
    };
    let store: Arc<dyn Store> = match &config.idempotency_store {
        StoreUrl::Same => same,
        StoreUrl::Memory => Arc::new(MemoryStore::new()),
        // The same file cannot be opened twice.
        StoreUrl::Sqlite(path) if config.database == DatabaseUrl::Sqlite(path.clone()) => same,
        StoreUrl::Sqlite(path) => {
            Arc::new(SqliteStore::open(path).map_err(|error| store(error.into()))?)
        }
        StoreUrl::Firestore(project) => {
            let keys = FirestoreStore::connect(project).await;
            Arc::new(keys.map_err(|error| store(error.into()))?)
        }
    };
    Ok((bookings, store))
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(SqliteError::InUse { .. }) => formatter.write_str(
                "the file is open already, in another process or for another option of this one; \
                 stop the other process, or name another file",
            ),
            Self::Sqlite(error) => error.fmt(formatter),
            Self::Firestore(error) => error.fmt(formatter),
            Self::FirestoreStore(error) => error.fmt(formatter),
            Self::Silent => formatter.write_str("it does not answer"),
            Self::Schema { found } => write!(
                formatter,
                "its tables have version {found}, and this program knows version {} only",
                sqlite::SCHEMA_VERSION,
            ),
        }
    }
}

impl Error for DatabaseError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Sqlite(error) => error.source(),
            Self::Firestore(error) => error.source(),
            Self::FirestoreStore(error) => error.source(),
            Self::Silent | Self::Schema { .. } => None,
        }
    }
}

impl From<FirestoreError> for DatabaseError {
    fn from(error: FirestoreError) -> Self {
        Self::Firestore(Box::new(error))
    }
}

impl From<idempotency::FirestoreError> for DatabaseError {
    fn from(error: idempotency::FirestoreError) -> Self {
        Self::FirestoreStore(error)
    }
}

impl From<SqliteError> for DatabaseError {
    fn from(error: SqliteError) -> Self {
        Self::Sqlite(error)
    }
}
