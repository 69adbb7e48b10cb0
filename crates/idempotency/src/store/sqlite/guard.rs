//! Ensures that a batch is one transaction: no work in it ends the transaction unnoticed, and no part of it is
//! committed alone.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering::Relaxed},
};

use rusqlite::{
    Connection, Error, ErrorCode, ffi,
    hooks::{AuthAction, AuthContext, Authorization},
};

use super::{SqliteStoreError, file::BUSY_TIMEOUT};

/// Begins, watches and ends the transactions of the thread that writes.
///
/// A statement can end its own transaction: on a full disk, by a conflict of `insert or rollback`, by a trigger's
/// `raise(rollback)`, or by a `rollback` or `commit` in the work. SQLite would then commit each further statement
/// separately, a key's record among them. The guard prevents that: only [`Guard::commit`] commits.
#[derive(Default)]
pub(super) struct Guard {
    /// One of the stages below. It is shared with SQLite's hooks, which run on the same thread.
    stage: Arc<AtomicU8>,
}

/// There is no transaction yet.
const IDLE: u8 = 0;
const OPEN: u8 = 1;
/// The batch is complete and about to be committed.
const COMMITTING: u8 = 2;
/// SQLite has checked the batch and commits it. A failure from now on may come after the commit.
const COMMITTED: u8 = 3;
/// The transaction was rolled back.
const ENDED: u8 = 4;
/// SQLite began to commit the batch, failed, and rolled it back itself.
const GIVEN_UP: u8 = 5;

/// Why a batch was not committed.
pub(super) enum Lost {
    /// Nothing of it was committed.
    Undone(Arc<Error>),
    /// It may have been committed.
    Unknown(Arc<Error>),
}

impl Guard {
    /// Begins a transaction.
    ///
    /// `immediate` takes the write lock at the start: a transaction that reads first and then writes is refused at once
    /// if another program has written meanwhile.
    pub(super) fn begin(&self, connection: &Connection) -> Result<(), Arc<Error>> {
        self.stage.store(IDLE, Relaxed);
        // Set each time, because the application's work may have set its own.
        let stage = Arc::clone(&self.stage);
        connection.commit_hook(Some(move || {
            let is_batch = stage.load(Relaxed) == COMMITTING;
            stage.store(if is_batch { COMMITTED } else { ENDED }, Relaxed);
            !is_batch
        }))?;
        let stage = Arc::clone(&self.stage);
        connection.rollback_hook(Some(move || {
            let has_begun = stage.load(Relaxed) == COMMITTED;
            stage.store(if has_begun { GIVEN_UP } else { ENDED }, Relaxed);
        }))?;
        execute(connection, "begin immediate")?;
        self.stage.store(OPEN, Relaxed);
        Ok(())
    }

    /// Whether the transaction is still the one that was begun.
    pub(super) fn is_intact(&self, connection: &Connection) -> bool {
        self.stage.load(Relaxed) == OPEN && !connection.is_autocommit()
    }

    pub(super) fn commit(&self, connection: &Connection) -> Result<(), Arc<Error>> {
        self.stage.store(COMMITTING, Relaxed);
        execute(connection, "commit")
    }

    /// Rolls back what is left of a transaction that this has lost.
    pub(super) fn abandon(&self, connection: &Connection, cause: Arc<Error>) -> Lost {
        let is_open = !connection.is_autocommit();
        if is_open {
            // If this fails too, the next batch fails as well, because it cannot begin.
            drop(execute(connection, "rollback"));
        }
        match self.stage.load(Relaxed) {
            IDLE | ENDED => Lost::Undone(cause),
            // SQLite has left the transaction as it was, and said so.
            _ if is_open && is_refusal(&cause) => Lost::Undone(cause),
            // The end of a commit in the log is written last, so it is missing if a write found no room. If a sync
            // failed, it is there.
            GIVEN_UP if cause.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                Lost::Undone(cause)
            }
            // This also covers work that replaced the hooks, so that they noticed nothing.
            _ => Lost::Unknown(cause),
        }
    }
}

/// Whether a commit failed before it took effect: by a constraint that is checked at commit, or by another program's
/// lock on the file.
fn is_refusal(cause: &Error) -> bool {
    matches!(
        cause.sqlite_error_code(),
        Some(ErrorCode::ConstraintViolation | ErrorCode::DatabaseBusy)
    )
}

impl Lost {
    pub(super) fn to_error(&self) -> SqliteStoreError {
        match self {
            Self::Undone(cause) => SqliteStoreError::RolledBack(Arc::clone(cause)),
            Self::Unknown(cause) => SqliteStoreError::Commit(Arc::clone(cause)),
        }
    }
}

/// Refuses statements that would change how this connection works for the work that follows.
///
/// Installed only once, because SQLite prepares all statements again afterwards.
pub(super) fn forbid_settings(connection: &Connection) -> Result<(), Error> {
    /// `defer_foreign_keys` applies to the whole transaction, which contains other callers' work.
    const SETTINGS: [&str; 13] = [
        "busy_timeout",
        "checkpoint_fullfsync",
        "defer_foreign_keys",
        "fullfsync",
        "hard_heap_limit",
        "ignore_check_constraints",
        "journal_mode",
        "locking_mode",
        "query_only",
        "reverse_unordered_selects",
        "synchronous",
        "wal_autocheckpoint",
        "writable_schema",
    ];
    connection.authorizer(Some(|context: AuthContext<'_>| match context.action {
        AuthAction::Pragma {
            pragma_name,
            pragma_value: Some(_),
        } if SETTINGS
            .iter()
            .any(|name| name.eq_ignore_ascii_case(pragma_name)) =>
        {
            Authorization::Deny
        }
        // In WAL mode a commit over several files is not atomic.
        AuthAction::Attach { .. } => Authorization::Deny,
        _ => Authorization::Allow,
    }))
}

/// The error of work that ended the transaction around it without returning an error.
pub(super) fn ended() -> Error {
    let code = ffi::Error::new(ffi::SQLITE_ABORT_ROLLBACK);
    let text = "a statement of the work ended the transaction, which it shares with other work";
    Error::SqliteFailure(code, Some(text.to_owned()))
}

/// The error of a file whose name, or whose lock's name, now leads to another file.
pub(super) fn moved() -> Error {
    let code = ffi::Error::new(ffi::SQLITE_READONLY_DBMOVED);
    let text = "the SQLite file, or the lock file next to it, was moved, removed or replaced while it was open; restart the service";
    Error::SqliteFailure(code, Some(text.to_owned()))
}

/// Resets what work may have set without a statement, which the authorizer does not see.
pub(super) fn reset(connection: &Connection) -> Result<(), Arc<Error>> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.progress_handler(0, None::<fn() -> bool>)?;
    Ok(())
}

pub(super) fn execute(connection: &Connection, statement: &str) -> Result<(), Arc<Error>> {
    let mut statement = connection.prepare_cached(statement)?;
    statement.execute(())?;
    Ok(())
}
