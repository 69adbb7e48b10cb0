//! The lock for removing intents. Sending needs none.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::{disk::io_error, error::IntentError};

/// A process that was stopped may hold the lock for ever.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
const LOCK_INTERVAL: Duration = Duration::from_millis(10);

/// A removal, which no other one overlaps. The system ends it with its process.
#[derive(Debug)]
pub(super) struct Removal {
    _lock: File,
}

impl Removal {
    pub(super) fn begin(folder: &Path) -> Result<Self, IntentError> {
        let path = folder.join("lock");
        let locked = lock(&path).map_err(|error| io_error(&path, error))?;
        Ok(Self { _lock: locked })
    }
}

fn lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    let until = Instant::now() + LOCK_TIMEOUT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(LOCK_INTERVAL),
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::TimedOut.into()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}
