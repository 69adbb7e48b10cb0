use std::{error::Error, fmt};

use sqlx::error::DatabaseError;

use super::NAME;
use crate::store::StoreError;

/// Why a PostgreSQL store could not be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum PostgresStoreError {
    /// The URL is invalid.
    Url(sqlx::Error),
    /// The server could not be reached, or it rejected the login.
    Connect(sqlx::Error),
    /// The server did not respond in time.
    TimedOut,
    /// The server accepts no writes. What it says about a key may be out of date, so it is not used for reading either.
    ReadOnly {
        /// Whether it is a standby, rather than a primary with `default_transaction_read_only` on.
        is_standby: bool,
    },
    /// The tables could not be created or read.
    Schema(sqlx::Error),
    /// A newer version of this library created the tables.
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
            Self::Url(_) => formatter.write_str("this is not a valid URL of a PostgreSQL database"),
            Self::Connect(_) => formatter.write_str("the PostgreSQL server cannot be reached"),
            Self::TimedOut => formatter.write_str("the PostgreSQL server did not respond in time"),
            Self::ReadOnly { is_standby: true } => formatter.write_str(
                "the PostgreSQL server is a standby, which accepts no writes and may lag behind; name the primary",
            ),
            Self::ReadOnly { is_standby: false } => formatter.write_str(
                "the PostgreSQL server accepts no writes here; turn default_transaction_read_only off for this \
                 database and role, or name the server that takes them",
            ),
            Self::Schema(_) => {
                formatter.write_str("the idempotency tables cannot be created or read in PostgreSQL")
            }
            Self::NewerSchema { found, known } => write!(
                formatter,
                "the PostgreSQL database has idempotency tables of version {found}, and the newest that this program can \
                 read is {known}; run the newer program, or use another database",
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

/// What a failed statement means for its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It conflicted with another statement and was undone; sent again, it will succeed.
    Undone,
    /// The connection is no longer usable. What was sent may have been done.
    ConnectionLost,
    /// The server gave up waiting for another session's lock. Nothing was done.
    Locked,
    /// This server accepts no writes any more, because another one has become the primary.
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

    /// The failure for the server's own code.
    pub(super) fn of_state(state: &str) -> Self {
        match state {
            // Serialization failure, deadlock, unique violation: a race, and not a fault of the server.
            "40001" | "40P01" | "23505" => Self::Undone,
            "55P03" => Self::Locked,
            "25006" => Self::ReadOnly,
            // The server is stopping or has crashed, or an operator has ended the connection.
            "57P01" | "57P02" | "57P03" | "57P05" => Self::ConnectionLost,
            state if state.starts_with("08") => Self::ConnectionLost,
            _ => Self::Lasting,
        }
    }
}

/// Whether a commit that failed with this code was certainly undone: the server itself has refused it, as for a deferred
/// constraint or a serialization failure.
///
/// It does not count as undone if the code is about the connection or the system behind it. A proxy gives such codes,
/// some of its own choice, also when it has lost the server in the middle of the commit.
pub(super) fn is_undone_commit(state: &str) -> bool {
    let is_about_the_way = ["08", "57P", "58", "XX"]
        .iter()
        .any(|class| state.starts_with(class));
    !is_about_the_way && !matches!(state, STATEMENT_COMPLETION_UNKNOWN | TOO_MANY_CONNECTIONS)
}

/// Whether a statement that failed with this error, or its commit, was certainly undone.
pub(super) fn is_undone(error: &sqlx::Error) -> bool {
    let state = sql_state(error);
    !state.is_empty() && is_undone_commit(&state)
}

const STATEMENT_COMPLETION_UNKNOWN: &str = "40003";
const TOO_MANY_CONNECTIONS: &str = "53300";

/// A column with a value of the wrong type or range makes the record unreadable; any other error is a failure of the
/// server.
pub(super) fn store_error(error: sqlx::Error) -> StoreError {
    let failure = match &error {
        sqlx::Error::ColumnDecode { .. }
        | sqlx::Error::Decode(_)
        | sqlx::Error::ColumnNotFound(_)
        | sqlx::Error::ColumnIndexOutOfBounds { .. } => StoreError::unreadable(error),
        // The class of data that cannot be computed with, such as a time that is out of range.
        _ if sql_state(&error).starts_with("22") => StoreError::unreadable(error),
        // The server's disk is full, and nothing was written.
        _ if sql_state(&error) == "53100" => StoreError::full(error),
        _ => StoreError::unavailable(error),
    };
    failure.with_store(NAME)
}

/// The server's code for the error; empty if the server did not respond.
fn sql_state(error: &sqlx::Error) -> String {
    error
        .as_database_error()
        .and_then(DatabaseError::code)
        .map(Into::into)
        .unwrap_or_default()
}
