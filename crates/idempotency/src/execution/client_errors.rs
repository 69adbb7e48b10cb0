//! The errors of database clients, so that `?` takes them in a handler that ends by a commit.

use super::CommitError;
#[cfg(feature = "sqlite")]
use crate::store::SqliteStoreError;

/// A statement or the connection failed, so the transaction is dropped and none of it is committed.
#[cfg(feature = "postgres")]
impl From<sqlx::Error> for CommitError {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// Like the error of sqlx 0.9.
#[cfg(feature = "sqlx-0_8")]
impl From<sqlx_0_8::Error> for CommitError {
    fn from(error: sqlx_0_8::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// A statement or the connection failed, so the transaction is dropped and none of it is committed.
#[cfg(feature = "tokio-postgres")]
impl From<tokio_postgres::Error> for CommitError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// [`CommitError::Unknown`] for a write that may have been committed; [`CommitError::Failed`] for every other error, such
/// as a failed read.
#[cfg(feature = "sqlite")]
impl From<SqliteStoreError> for CommitError {
    fn from(error: SqliteStoreError) -> Self {
        match error {
            SqliteStoreError::Commit(_) | SqliteStoreError::Stopped => Self::Unknown(error.into()),
            error => Self::Failed(error.into()),
        }
    }
}
