//! Finds which tables a file has, without changing it.

use std::{error::Error, fs::canonicalize, path::Path};

use rusqlite::{Connection, OpenFlags};

const HAS_KEYS: &str =
    "select exists (select * from sqlite_master where name = 'idempotency_records')";

/// Whether the file may have the table of keys: also if that cannot be read, such as while a service has the file open.
pub(super) fn may_have_keys(path: &Path) -> bool {
    has_keys(path).unwrap_or(true)
}

fn has_keys(path: &Path) -> Result<bool, Box<dyn Error>> {
    // The log is next to the target of a symbolic link.
    let path = &canonicalize(path)?;
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    // A reader would create a log and leave it behind. Without a log the file is complete, and no process writes to it.
    let mode = if Path::new(&log).exists() {
        "mode=ro"
    } else {
        "immutable=1"
    };
    let name = format!("file:{}?{mode}", escaped(path));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(name, flags)?;
    Ok(connection.query_row(HAS_KEYS, [], |row| row.get(0))?)
}

/// Percent-encoded for a URI.
fn escaped(path: &Path) -> String {
    let mut escaped = String::new();
    for &byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'_' | b'-' => escaped.push(byte.into()),
            byte if byte.is_ascii_alphanumeric() => escaped.push(byte.into()),
            byte => escaped.push_str(&format!("%{byte:02x}")),
        }
    }
    escaped
}
