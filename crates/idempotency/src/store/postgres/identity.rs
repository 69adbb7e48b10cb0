//! The identity of the store's table, with which a transaction's is compared.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use parking_lot::Mutex;
use sqlx::{Row, query};
use tokio::{sync::OnceCell, time::timeout};

use super::{
    connections::{Connections, Retry},
    error::store_error,
    statements,
};
use crate::store::StoreError;

/// The identity, once it has been read.
#[derive(Default)]
pub(super) struct Identity {
    known: Mutex<Option<String>>,
    /// Whether it has been read before a run, or could not be.
    first_read: OnceCell<()>,
    /// Whether some transaction was in the same database. Usually all are then.
    has_been_beside: AtomicBool,
    /// Whether some transaction was in another database.
    has_been_elsewhere: AtomicBool,
}

/// How long a run waits for the first read.
const FIRST_READ_TIMEOUT: Duration = Duration::from_secs(1);

impl Identity {
    /// Reads the identity once, before the store's first run begins, so that no transaction has to wait for it. A pooler
    /// may have lent all its server processes to transactions, which would then all wait for the read, and it for them.
    ///
    /// If the read fails, the transactions read it themselves.
    pub(super) async fn read_before_runs(&self, connections: &Connections) {
        if self.first_read.initialized() {
            return;
        }
        let read = async {
            drop(timeout(FIRST_READ_TIMEOUT, self.read(connections)).await);
        };
        self.first_read.get_or_init(|| read).await;
    }

    /// The identity that was read last, or the current one if none was read.
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

    /// Whether a transaction can be assumed to be in the same database until its statement shows it.
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
    StoreError::unavailable("the table idempotency_schema is empty; create the schema again")
}
