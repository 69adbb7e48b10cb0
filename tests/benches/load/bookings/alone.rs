//! Bookings in a SQLite file, each with its own commit, as most services write them.

use std::{path::Path, sync::Arc};

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::task::spawn_blocking;

use super::{Failure, sqlite};
use crate::service::Booking;

/// One connection, for one request at a time.
#[derive(Clone)]
pub(crate) struct Alone(Arc<Mutex<Connection>>);

impl Alone {
    /// Makes the file, with the table.
    pub(crate) fn in_file(path: &Path) -> Self {
        let connection = Connection::open(path).expect("a file");
        let set_up = "pragma journal_mode = wal; pragma synchronous = full;";
        connection.execute_batch(set_up).expect("a log");
        connection.execute_batch(sqlite::CREATE).expect("a table");
        Self(Arc::new(Mutex::new(connection)))
    }

    pub(super) async fn insert(&self, booking: Booking) -> Result<(), Failure> {
        let Self(connection) = self.clone();
        let inserted = spawn_blocking(move || sqlite::insert(&connection.lock(), &booking));
        Ok(inserted.await??)
    }
}
