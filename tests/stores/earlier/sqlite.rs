//! A file of SQLite, after its process has died.

use std::{fs, path::Path, time::Duration};

use rusqlite::Connection;

/// The file, with what the process left in its log.
pub(super) fn save(path: &Path) -> Vec<u8> {
    let connection = Connection::open(path).expect("a database");
    // The store of the process closes the file in a thread of its own.
    let waits = connection.busy_timeout(Duration::from_secs(60));
    waits.expect("a time-out");
    let vacuumed = connection.execute_batch("vacuum");
    vacuumed.expect("the process has let go of the file");
    let closed = connection.close();
    closed.expect("a closed file");
    fs::read(path).expect("the file")
}

pub(super) fn restore(path: &Path, records: &[u8]) {
    fs::write(path, records).expect("a file");
}
