//! Moving SQLite's log into the file, a small part at a time.

use std::cell::Cell;

use rusqlite::{Connection, Error};

use crate::log_text::Causes;

/// When the thread that writes moves the log into the file.
///
/// SQLite would do it within a commit, while the callers of that commit wait for its end. Behind a commit it delays only those
/// whose turn is next, and a small part delays them little.
pub(super) struct Log {
    /// The length of the log at which it is moved.
    due_at: i32,
}

/// How many pages there are in a part. Each costs three syncs, which a disk takes as long for as for three commits.
const PART: i32 = 1000;

thread_local! {
    /// How many pages the log had after this thread's last commit.
    static LENGTH: Cell<i32> = const { Cell::new(0) };
}

/// Does not wait for readers. What one of them still needs stays in the log.
const MOVE: &str = "pragma wal_checkpoint(passive)";

impl Log {
    pub(super) fn new() -> Self {
        Self { due_at: PART }
    }

    /// Notes the length of the log with the commit that follows, in place of what SQLite does by itself.
    ///
    /// Set each time, because the application's work may have set its own hook.
    pub(super) fn watch(connection: &Connection) {
        connection.wal_hook(Some(|_, length| {
            LENGTH.set(length);
            Ok(())
        }));
    }

    /// Moves the log, if it is long. Then the next commit begins it anew, unless a reader needs it.
    ///
    /// A part that cannot be moved is still in the log, and durable there.
    pub(super) fn move_if_long(&mut self, connection: &Connection) {
        let length = LENGTH.get();
        if length < self.due_at - PART {
            // It was begun anew.
            self.due_at = PART;
        }
        if length < self.due_at {
            return;
        }
        // Readers that overlap may leave only few moments at which nothing of the log is needed, so a long one is tried more often.
        let step = if length < 4 * PART { PART } else { PART / 8 };
        self.due_at = length.saturating_add(step);
        if let Err(error) = move_all(connection) {
            // Such as that the disk is full, which is not tried with each commit from now on.
            self.due_at = length.saturating_add(PART);
            tracing::warn!(
                error = %Causes(&error),
                "the log of a SQLite file could not be moved into it, and grows until it can",
            );
        }
    }
}

fn move_all(connection: &Connection) -> Result<(), Error> {
    let mut statement = connection.prepare_cached(MOVE)?;
    statement.query_row((), |_| Ok(()))
}
