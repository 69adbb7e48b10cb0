//! Where bookings are stored, and where their keys are.

mod memory;
mod open;

#[cfg(feature = "firestore")]
mod firestore;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod local;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::{error::Error, fmt};

use async_trait::async_trait;
use axum::response::Response;
use idempotency::{CommitError, Execution};
use tokio::time::error::Elapsed;
use uuid::Uuid;

use crate::booking::{Booking, Change, Whose};

pub(crate) use open::OpenError;
pub(crate) use open::Opened;
pub(crate) use open::OpenedKeys;
pub(crate) use open::open;
pub(crate) use open::open_existing;
pub(crate) use open::open_keys;

/// Bookings, each under its id. Every method takes effect completely or not at all.
///
/// The methods that write end their handler's run: if the keys are in the same database, the change, the key and the response
/// are one commit.
#[async_trait]
pub(crate) trait Bookings: fmt::Debug + Send + Sync + 'static {
    /// Adds a booking, whose id is new, and returns this response.
    async fn insert(
        &self,
        booking: Booking,
        execution: &Execution,
        response: Response,
    ) -> Result<Response, DatabaseError>;

    /// The booking with this id, if it is among these bookings.
    async fn get(&self, id: Uuid, whose: &Whose) -> Result<Option<Booking>, DatabaseError>;

    /// Up to `limit` of these bookings, newest first, only those older than `after`.
    async fn list(
        &self,
        whose: &Whose,
        after: Option<Uuid>,
        limit: u16,
    ) -> Result<Vec<Booking>, DatabaseError>;

    /// Changes the booking with this id, and makes the response from its new state. If there is no such booking, nothing is
    /// committed, so that the key stays free.
    async fn change(
        &self,
        id: Uuid,
        whose: Whose,
        change: Change,
        execution: &Execution,
        respond: fn(Option<Booking>) -> Response,
    ) -> Result<Response, DatabaseError>;

    /// Removes the booking with this id, and makes the response from whether there was one. If there was none, nothing is
    /// committed.
    async fn remove(
        &self,
        id: Uuid,
        whose: Whose,
        execution: &Execution,
        respond: fn(bool) -> Response,
    ) -> Result<Response, DatabaseError>;

    /// Fails unless the database responds and, as far as this can be checked without writing, accepts writes.
    async fn ping(&self) -> Result<(), DatabaseError>;

    /// Writes and rolls back, where only that shows whether the database accepts writes.
    async fn try_to_write(&self) -> Result<(), DatabaseError> {
        Ok(())
    }
}

/// Why bookings cannot be read or written.
#[derive(Debug)]
pub(crate) enum DatabaseError {
    /// The client of the database returned an error, or the database cannot be used as it is.
    Client(Box<dyn Error + Send + Sync>),
    /// The change was not committed, or it is not known whether it was.
    Commit(CommitError),
    /// The database did not respond in time.
    TimedOut,
    /// Another process has the file open.
    #[cfg(feature = "sqlite")]
    InUse,
}

impl DatabaseError {
    /// The tables were made by another version of this service.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    fn schema(found: i64, known: i64) -> Self {
        let text =
            format!("its tables have version {found}, and this program knows version {known} only");
        Self::Client(text.into())
    }
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(error) => error.fmt(formatter),
            Self::Commit(error) => error.fmt(formatter),
            Self::TimedOut => formatter.write_str("it did not respond in time"),
            #[cfg(feature = "sqlite")]
            Self::InUse => formatter.write_str(sqlite::IN_USE),
        }
    }
}

impl Error for DatabaseError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Client(error) => error.source(),
            Self::Commit(error) => error.source(),
            Self::TimedOut => None,
            #[cfg(feature = "sqlite")]
            Self::InUse => None,
        }
    }
}

impl From<CommitError> for DatabaseError {
    fn from(error: CommitError) -> Self {
        Self::Commit(error)
    }
}

impl From<Elapsed> for DatabaseError {
    fn from(_: Elapsed) -> Self {
        Self::TimedOut
    }
}
