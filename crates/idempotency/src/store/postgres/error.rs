use std::{error::Error, fmt};

use sqlx::error::DatabaseError;

use crate::StoreError;

/// Why a PostgreSQL store could not be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum PostgresStoreError {
    /// The URL cannot be understood.
    Url(sqlx::Error),
    /// The server could not be reached, or did not let us in.
    Connect(sqlx::Error),
    /// The server did not answer in time.
    TimedOut,
    /// The server takes no writes. What it says of a key may be out of date, so it is not used for reading either.
    ReadOnly {
        /// Whether it is a standby, and not a primary with `default_transaction_read_only` on.
        is_standby: bool,
    },
    /// The tables could not be made or read.
    Schema(sqlx::Error),
    /// A newer version of this library has made the tables.
    NewerSchema {
        /// The version in the database.
        found: i32,
        /// The newest version that this library can read.
        known: i32,
    },
}

impl fmt::Display for PostgresStoreError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(_) => formatter.write_str("this is not the URL of a PostgreSQL database"),
            Self::Connect(_) => formatter.write_str("the PostgreSQL server cannot be reached"),
            Self::TimedOut => formatter.write_str("the PostgreSQL server did not answer in time"),
            Self::ReadOnly { is_standby: true } => formatter.write_str(
                "the PostgreSQL server is a standby, which takes no writes and may lag behind; name the primary",
            ),
            Self::ReadOnly { is_standby: false } => formatter.write_str(
                "the PostgreSQL server takes no writes here; turn default_transaction_read_only off for this \
                 database and role, or name the server that takes them",
            ),
            Self::Schema(_) => {
                formatter.write_str("the idempotency tables cannot be made or read in PostgreSQL")
            }
            Self::NewerSchema { found, known } => write!(
                formatter,
                "the PostgreSQL database has idempotency tables of version {found}, and this program knows none \
                 after {known}; run the newer program, or use another database",
            ),
        }
    }
}

impl Error for PostgresStoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Url(error) | Self::Connect(error) | Self::Schema(error) => Some(error),
            Self::TimedOut | Self::ReadOnly { .. } | Self::NewerSchema { .. } => None,
        }
    }
}

/// What a failed statement means for those who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It came too close to another one and was undone; sent again, it will get its answer.
    Undone,
    /// The connection is of no more use. What was sent may have been done.
    ConnectionLost,
    /// The server gave up waiting for a lock that another session holds. Nothing was done.
    Locked,
    /// This server takes no writes any more, because another one has become the primary.
    ReadOnly,
    /// Anything else; sending it again would fail again.
    Lasting,
}

impl Failure {
    pub(super) fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
                Self::ConnectionLost
            }
            _ => Self::of_state(&sql_state(error)),
        }
    }

    /// By the server's own code.
    pub(super) fn of_state(state: &str) -> Self {
        match state {
            // Serialization failure, deadlock, unique violation: a race, which is no fault of the server.
            "40001" | "40P01" | "23505" => Self::Undone,
            "55P03" => Self::Locked,
            "25006" => Self::ReadOnly,
            // The server stops or has crashed, or an operator has ended the connection.
            "57P01" | "57P02" | "57P03" | "57P05" => Self::ConnectionLost,
            state if state.starts_with("08") => Self::ConnectionLost,
            _ => Self::Lasting,
        }
    }
}

/// A column that does not hold what its name says makes the record unreadable; all else is the server's fault.
pub(super) fn store_error(error: sqlx::Error) -> StoreError {
    match &error {
        sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::Decode(_)
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnIndexOutOfBounds { .. } => StoreError::unreadable(error),
        // The class of data that cannot be computed with, such as a time that is out of range.
        _ if sql_state(&error).starts_with("22") => StoreError::unreadable(error),
        // The server's disk is full, and nothing was written.
        _ if sql_state(&error) == "53100" => StoreError::full(error),
        _ => StoreError::unavailable(error),
    }
}

/// The server's code for what went wrong; empty if the server did not say anything.
fn sql_state(error: &sqlx::Error) -> String {
    error
        .as_database_error()
        .and_then(DatabaseError::code)
        .map(Into::into)
        .unwrap_or_default()
}
