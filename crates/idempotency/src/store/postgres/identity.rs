//! Which table the store writes to, so that a transaction can be compared with it.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use sqlx::{Row, query};

use super::{
    connections::{Connections, Retry},
    error::store_error,
    statements,
};
use crate::StoreError;

/// What names the table, once it has been read.
#[derive(Default)]
pub(super) struct Identity {
    known: Mutex<Option<String>>,
    /// Whether a transaction was in the same database. Then all are, as a rule.
    has_been_beside: AtomicBool,
    /// Whether one was elsewhere.
    has_been_elsewhere: AtomicBool,
}

impl Identity {
    /// What was read last; where nothing was, it is read now.
    pub(super) async fn get(&self, connections: &Connections) -> Result<String, StoreError> {
        let known = self.known.lock().clone();
        match known {
            Some(known) => Ok(known),
            None => self.read(connections).await,
        }
    }

    /// Reads it, on a connection of the store's own.
    pub(super) async fn read(&self, connections: &Connections) -> Result<String, StoreError> {
        let rows = connections.run(Retry::Always, || query(statements::FIND_IDENTITY));
        let rows = rows.await?;
        let row = rows.first().ok_or_else(unmarked)?;
        let read: Option<String> = row.try_get(0).map_err(store_error)?;
        let read = read.ok_or_else(unmarked)?;
        *self.known.lock() = Some(read.clone());
        Ok(read)
    }

    /// Whether transactions can be taken to be in the same database, until their statement shows it.
    pub(super) fn is_beside(&self) -> bool {
        self.has_been_beside.load(Ordering::Relaxed)
            && !self.has_been_elsewhere.load(Ordering::Relaxed)
    }

    pub(super) fn note_beside(&self) {
        self.has_been_beside.store(true, Ordering::Relaxed);
    }

    pub(super) fn note_elsewhere(&self) {
        self.has_been_elsewhere.store(true, Ordering::Relaxed);
    }
}

fn unmarked() -> StoreError {
    StoreError::unavailable("the table idempotency_schema is empty: create the schema again")
}
