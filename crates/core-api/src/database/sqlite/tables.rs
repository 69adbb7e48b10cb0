//! Which tables a file has, without a change of it.

use std::{error::Error, fs::canonicalize, path::Path};

use rusqlite::{Connection, OpenFlags};

const HAS_KEYS: &str =
    "select exists (select * from sqlite_master where name = 'idempotency_records')";

/// Whether the file has the table of keys. If that cannot be read, such as while a service has the file, it may have.
pub(super) fn may_have_keys(path: &Path) -> bool {
    has_keys(path).unwrap_or(true)
}

fn has_keys(path: &Path) -> Result<bool, Box<dyn Error>> {
    // The log is beside the file that a link leads to.
    let path = &canonicalize(path)?;
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    // A reader makes a log where there is none, and leaves it. Without a log the file has everything, and nobody writes to it.
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

/// As a URI has it.
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
