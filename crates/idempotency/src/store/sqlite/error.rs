use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::NAME;
use crate::store::StoreError;

/// Why a SQLite file could not be opened, or work on it was not done.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SqliteStoreError {
    /// The path does not name a file: it is empty or `:memory:`.
    NoFile,
    /// The file, or the lock file next to it, could not be opened.
    Open {
        /// The file.
        path: PathBuf,
        /// What prevented it.
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The file is already open: in another process, or in this one by another call of `open`.
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A newer version of this library has written the file's tables.
    NewerSchema {
        /// The version in the file.
        found: i64,
        /// The newest version that this library can read.
        known: i64,
    },
    /// The work failed, and nothing of it was committed.
    Work(Arc<rusqlite::Error>),
    /// The work panicked, and nothing of it was committed.
    Panicked,
    /// The transaction that contained the work, perhaps together with other work, was rolled back, and nothing of it
    /// was committed. The cause is that of the work that ended it.
    RolledBack(Arc<rusqlite::Error>),
    /// The transaction that contained the work, perhaps together with other work, may not have been committed.
    Commit(Arc<rusqlite::Error>),
    /// Thousands of reads or writes are waiting, and this one was not done.
    Overloaded,
    /// The database's thread has ended, so no further work is done.
    Stopped,
}

impl SqliteStoreError {
    pub(super) fn open(path: &Path, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Open {
            path: path.to_owned(),
            source: source.into().into(),
        }
    }

    pub(super) fn open_kind(path: &Path, kind: io::ErrorKind) -> Self {
        Self::open(path, io::Error::from(kind))
    }
}

impl From<rusqlite::Error> for SqliteStoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Work(Arc::new(error))
    }
}

impl fmt::Display for SqliteStoreError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFile => formatter.write_str(
                "a SQLite database needs the path of a file; for keys that need not outlive the process use a MemoryStore",
            ),
            Self::Open { path, .. } => {
                write!(formatter, "the SQLite file {} cannot be opened", path.display())
            }
            Self::InUse { path } => write!(
                formatter,
                "the SQLite file {} is already open, in another process or in this one; \
                 stop the other process or give this one a file of its own, \
                 and within a process clone one SqliteDatabase",
                path.display()
            ),
            Self::NewerSchema { found, known } => write!(
                formatter,
                "the SQLite file has idempotency tables of version {found}, and the newest that this program can read is {known}; \
                 run the newer program, or use another file",
            ),
            Self::Work(_) => formatter.write_str("SQLite refused the work"),
            Self::Panicked => formatter.write_str("the work on the SQLite file panicked"),
            Self::RolledBack(_) => formatter
                .write_str("SQLite rolled back the transaction that contained the work"),
            Self::Commit(_) => formatter.write_str("SQLite did not commit the work"),
            Self::Overloaded => formatter.write_str("too many reads or writes are waiting for the SQLite file"),
            Self::Stopped => formatter.write_str("the thread of the SQLite file has ended"),
        }
    }
}

impl Error for SqliteStoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Open { source, .. } => Some(source.as_ref()),
            Self::Work(error) | Self::RolledBack(error) | Self::Commit(error) => {
                Some(error.as_ref())
            }
            Self::NoFile
            | Self::InUse { .. }
            | Self::NewerSchema { .. }
            | Self::Panicked
            | Self::Overloaded
            | Self::Stopped => None,
        }
    }
}

/// A column with a value of the wrong type or range makes the record unreadable; any other error is a failure of the
/// file.
impl From<SqliteStoreError> for StoreError {
    fn from(error: SqliteStoreError) -> Self {
        let failure = match &error {
            SqliteStoreError::Work(cause)
                if matches!(
                    cause.as_ref(),
                    rusqlite::Error::FromSqlConversionFailure(..)
                        | rusqlite::Error::IntegralValueOutOfRange(..)
                        | rusqlite::Error::InvalidColumnType(..)
                ) =>
            {
                Self::unreadable(error)
            }
            // Nothing was done, so a claim need not be withdrawn from a file that is locked or full.
            SqliteStoreError::RolledBack(_) | SqliteStoreError::Overloaded => {
                Self::unreached(error)
            }
            _ => Self::unavailable(error),
        };
        failure.with_store(NAME)
    }
}
