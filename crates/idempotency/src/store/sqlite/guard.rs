//! What keeps a batch one transaction: no work in it ends it unnoticed, and none of it is committed by itself.

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
/// A statement can end the transaction that it is part of: a full disk, a conflict of `insert or rollback`, a trigger's
/// `raise(rollback)`, a `rollback` or `commit` in the work. SQLite would then commit each further statement by itself, a
/// key's record among them. Here it is not allowed to: only [`Guard::commit`] commits.
#[derive(Default)]
pub(super) struct Guard {
    /// One of the stages below. It is shared with SQLite's hooks, which run on the same thread.
    stage: Arc<AtomicU8>,
}

/// There is no transaction yet.
const IDLE: u8 = 0;
const OPEN: u8 = 1;
/// The batch is complete and is to be committed.
const COMMITTING: u8 = 2;
/// SQLite has checked the batch and commits it. A failure from now on may be one after the fact.
const COMMITTED: u8 = 3;
/// The transaction was rolled back.
const ENDED: u8 = 4;
/// SQLite has begun to commit the batch, failed, and rolled it back by itself.
const GIVEN_UP: u8 = 5;

/// Why a batch was not committed.
pub(super) enum Lost {
    /// Nothing of it is kept.
    Undone(Arc<Error>),
    /// It may have been committed.
    Unknown(Arc<Error>),
}

impl Guard {
    /// Begins a transaction.
    ///
    /// `immediate` takes the right to write at the start: a transaction that reads first and then wants to write is
    /// refused at once if another program has written meanwhile.
    pub(super) fn begin(&self, connection: &Connection) -> Result<(), Arc<Error>> {
        self.stage.store(IDLE, Relaxed);
        // Each time anew, because work of the application may have set its own.
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
            // Should this fail too, then so does the next batch, because it cannot begin.
            drop(execute(connection, "rollback"));
        }
        match self.stage.load(Relaxed) {
            IDLE | ENDED => Lost::Undone(cause),
            // SQLite has left the transaction as it was, and said so.
            _ if is_open && is_refusal(&cause) => Lost::Undone(cause),
            // What ends a commit in the log is written last, so it is not there where a write found no room. Where a sync
            // failed, it is there.
            GIVEN_UP if cause.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                Lost::Undone(cause)
            }
            // Also where work has replaced the hooks, so that they have seen nothing.
            _ => Lost::Unknown(cause),
        }
    }
}

/// Whether this is a failure of a commit before the fact: a constraint that is checked then, a file that somebody else has locked.
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

/// Refuses statements that would change how this connection works for everybody's work after them.
///
/// Installed once, because SQLite prepares all statements anew after that.
pub(super) fn forbid_settings(connection: &Connection) -> Result<(), Error> {
    /// `defer_foreign_keys` is for the whole transaction, in which others' work is.
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
        // A commit over several files in WAL mode is not one commit.
        AuthAction::Attach { .. } => Authorization::Deny,
        _ => Authorization::Allow,
    }))
}

/// What is wrong with work that has ended the transaction around it and does not say so.
pub(super) fn ended() -> Error {
    let code = ffi::Error::new(ffi::SQLITE_ABORT_ROLLBACK);
    let text = "a statement of the work ended the transaction, which was not the work's own";
    Error::SqliteFailure(code, Some(text.to_owned()))
}

/// What is wrong with a file whose name, or whose lock's, leads to another one by now.
pub(super) fn moved() -> Error {
    let code = ffi::Error::new(ffi::SQLITE_READONLY_DBMOVED);
    let text = "the file, or the lock beside it, was moved, removed or replaced while it was open; restart the service";
    Error::SqliteFailure(code, Some(text.to_owned()))
}

/// Sets back what work may have set without a statement, which no authorizer sees.
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
