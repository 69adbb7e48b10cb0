//! The file: who may open it, and how connections to it are set up.

use std::{
    error::Error,
    fs::{File, OpenOptions, TryLockError, canonicalize, metadata, symlink_metadata},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use super::{
    SqliteStoreError, guard,
    own::{self, Identity, identity},
    upgrade,
};

/// The exclusive right to a database file, until it is dropped.
#[derive(Debug)]
pub(super) struct LockedFile {
    path: PathBuf,
    /// The database and the lock, as they were found.
    found: [(PathBuf, Identity); 2],
    // A file next to the database, never the database itself: closing any descriptor of that one would drop the locks
    // that SQLite holds on it. It is not removed, because removing it would race with the next opener.
    _lock: File,
}

/// The suffixes of the files next to the database: SQLite's log and its index, and the lock.
const LOGS: [&str; 2] = ["-wal", "-shm"];
const LOCK: &str = ".lock";

/// How many statements a connection keeps prepared: the store's, and some of the application's.
const PREPARED_STATEMENTS: usize = 128;

/// `full` makes a commit survive a power failure, which a response promises. The savepoints of a batch stay out of
/// temporary files. An upgrade has a long log, in which the same page changes many times before it is moved into the file. From
/// then on the thread that writes moves it itself. A log that a reader has kept long is truncated when it is begun anew.
const SET_UP_WRITER: &str = "
    pragma synchronous = full;
    pragma wal_autocheckpoint = 8192;
    pragma fullfsync = on;
    pragma foreign_keys = on;
    pragma temp_store = memory;
    pragma cache_size = -16384;
    pragma journal_size_limit = 67108864;
";

/// How long the writer waits for another program's lock. All work that is queued by then fails together with the one
/// that waited.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

const SET_UP_READER: &str = "
    pragma query_only = on;
    pragma foreign_keys = on;
    pragma temp_store = memory;
    pragma cache_size = -16384;
";

impl LockedFile {
    pub(super) fn acquire(path: &Path) -> Result<Self, SqliteStoreError> {
        if path.as_os_str().is_empty() || path.as_os_str() == ":memory:" {
            return Err(SqliteStoreError::NoFile);
        }
        create_private(path).map_err(|error| SqliteStoreError::open(path, error))?;
        // One name for one file, whatever links lead to it, because the lock is found by name.
        let path = canonicalize(path).map_err(|error| SqliteStoreError::open(path, error))?;
        let found = metadata(&path).map_err(|error| SqliteStoreError::open(&path, error))?;
        if found.is_dir() {
            return Err(SqliteStoreError::open_kind(
                &path,
                io::ErrorKind::IsADirectory,
            ));
        }
        // Before any file is created next to it.
        check_all(&path)?;
        let lock = lock_beside(&path)?;
        check_all(&path)?;
        let found = |path: PathBuf| match identity(&path) {
            Ok(identity) => Ok((path, identity)),
            Err(error) => Err(SqliteStoreError::open(&path, error)),
        };
        Ok(Self {
            found: [found(path.clone())?, found(beside(&path, LOCK))?],
            path,
            _lock: lock,
        })
    }

    /// Whether the names still lead to the files that were opened. With another lock file a second process may have the
    /// database open, and under another name it may have a second log.
    pub(super) fn is_in_place(&self) -> bool {
        let mut found = self.found.iter();
        found.all(|(path, found)| identity(path).is_ok_and(|identity| identity == *found))
    }

    pub(super) fn writer(&self) -> Result<Connection, SqliteStoreError> {
        // No reason to refuse the file: one connection here writes and moves the log into it, and the others only read.
        if has_wal_reset_race(rusqlite::version_number()) {
            tracing::warn!(
                sqlite = rusqlite::version(),
                "this SQLite can corrupt a file that two programs write at the same time: link 3.51.3 or newer; until \
                 then do not write to the file with another program while this one runs",
            );
        }
        let mut connection = self.connect(OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        // SQLite silently opens a file that it may not write as read-only.
        if connection.is_readonly("main").unwrap_or(true) {
            return Err(SqliteStoreError::open_kind(
                &self.path,
                io::ErrorKind::PermissionDenied,
            ));
        }
        set_up_writer(&connection).map_err(|error| SqliteStoreError::open(&self.path, error))?;
        // Only now is it known that the file is a database, and that it is not open elsewhere.
        own::make_private(&self.path)?;
        for suffix in LOGS.into_iter().chain([LOCK]) {
            own::make_private(&beside(&self.path, suffix))?;
        }
        // Before the thread that writes has the connection, whose transactions are those of all its work.
        upgrade::upgrade(&mut connection)
            .map_err(|error| SqliteStoreError::open(&self.path, error))?;
        Ok(connection)
    }

    pub(super) fn reader(&self) -> Result<Connection, SqliteStoreError> {
        let connection = self.connect(OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection
            .execute_batch(SET_UP_READER)
            .map_err(|error| SqliteStoreError::open(&self.path, error))?;
        Ok(connection)
    }

    fn connect(&self, access: OpenFlags) -> Result<Connection, SqliteStoreError> {
        // Each connection lives on one thread, so SQLite's own locking would be useless.
        let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)
            .map_err(|error| SqliteStoreError::open(&self.path, error))?;
        // No other program should be there, but an operator may read the file with a tool.
        connection
            .busy_timeout(BUSY_TIMEOUT)
            .map_err(|error| SqliteStoreError::open(&self.path, error))?;
        connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
        Ok(connection)
    }
}

/// Whether two connections that write to the log, or move it into the file, at the same time can lose a part of it.
/// <https://sqlite.org/wal.html#walresetbug>
fn has_wal_reset_race(version: i32) -> bool {
    !matches!(version, 3_044_006..3_045_000 | 3_050_007..3_051_000 | 3_051_003..)
}

fn set_up_writer(connection: &Connection) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mode: String = connection.query_row("pragma journal_mode = wal", (), |row| row.get(0))?;
    if mode != "wal" {
        return Err("its file system cannot hold SQLite's write-ahead log".into());
    }
    connection.execute_batch(SET_UP_WRITER)?;
    guard::forbid_settings(connection)?;
    Ok(())
}

/// Creates an empty file that only this user can read, because it will hold responses. SQLite gives its log the same
/// permissions, and treats an empty file as an empty database.
fn create_private(path: &Path) -> io::Result<()> {
    // Only creates a new file: an existing one must not be opened and closed here.
    match private().create_new(true).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn check_all(path: &Path) -> Result<(), SqliteStoreError> {
    own::check(path)?;
    for suffix in LOGS {
        own::check(&beside(path, suffix))?;
    }
    Ok(())
}

fn lock_beside(path: &Path) -> Result<File, SqliteStoreError> {
    let beside = beside(path, LOCK);
    own::check(&beside)?;
    let lock = private()
        .create(true)
        .open(&beside)
        .map_err(|error| SqliteStoreError::open(&beside, error))?;
    match lock.try_lock() {
        Ok(()) => match is_at(&lock, &beside) {
            Ok(true) => Ok(lock),
            Ok(false) => Err(SqliteStoreError::open(
                &beside,
                "it was replaced while it was being opened",
            )),
            Err(error) => Err(SqliteStoreError::open(&beside, error)),
        },
        Err(TryLockError::WouldBlock) => Err(SqliteStoreError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(SqliteStoreError::open(&beside, error)),
    }
}

/// Whether this name leads to the open file. A lock on another file excludes no other process.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;

    let (open, named) = (file.metadata()?, symlink_metadata(path)?);
    Ok((open.dev(), open.ino()) == (named.dev(), named.ino()))
}

#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> io::Result<bool> {
    Ok(true)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push(suffix);
    beside.into()
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::has_wal_reset_race;

    // proves: old-sqlite-log-corrupted
    #[test]
    fn the_linked_sqlite_does_not_corrupt_its_log() {
        for version in [3_007_000, 3_044_005, 3_045_000, 3_050_006, 3_051_002] {
            assert!(has_wal_reset_race(version), "{version}");
        }
        for version in [3_044_006, 3_050_007, 3_051_003, 3_052_000] {
            assert!(!has_wal_reset_race(version), "{version}");
        }
        assert!(!has_wal_reset_race(rusqlite::version_number()));
    }
}
