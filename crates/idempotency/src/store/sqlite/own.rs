//! Ownership of a file: a file that other users can read or write, or that has a second name, is not accepted unchanged.

#[cfg(unix)]
use std::os::unix::fs::MetadataExt;
use std::{fs::symlink_metadata, io, path::Path};

use super::SqliteStoreError;

/// Refuses what is not this user's file with one name, if it exists. It changes nothing.
pub(super) fn check(path: &Path) -> Result<(), SqliteStoreError> {
    let refuse = |why: &str| Err(SqliteStoreError::open(path, why));
    let found = match symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(SqliteStoreError::open(path, error)),
    };
    if found.is_symlink() {
        return refuse("it is a symbolic link, which may lead to another user's file");
    }
    if !found.is_file() {
        return refuse("it is not a file");
    }
    // The lock is found by name, so each name would have a lock of its own.
    #[cfg(unix)]
    if found.nlink() > 1 {
        return refuse("it has more than one name: remove its other hard links");
    }
    // Root may open every file, but the file's owner could still read and change it.
    #[cfg(unix)]
    if found.uid() != rustix::process::geteuid().as_raw() {
        return refuse(
            "it belongs to another user: change its owner to the user of this process with chown, or name another file",
        );
    }
    Ok(())
}

/// The identity of the file behind a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

#[cfg(unix)]
pub(super) fn identity(path: &Path) -> io::Result<Identity> {
    symlink_metadata(path).map(|found| Identity {
        device: found.dev(),
        inode: found.ino(),
    })
}

#[cfg(not(unix))]
pub(super) fn identity(path: &Path) -> io::Result<Identity> {
    // On other systems an open file cannot be moved.
    symlink_metadata(path).map(|_| Identity {
        device: 0,
        inode: 0,
    })
}

/// Makes the file accessible to this user only, if it exists.
#[cfg(unix)]
pub(super) fn make_private(path: &Path) -> Result<(), SqliteStoreError> {
    use std::{
        fs::{Permissions, set_permissions},
        os::unix::fs::PermissionsExt,
    };

    /// Readable and writable by this user only.
    const PRIVATE: u32 = 0o600;

    let found = match symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(SqliteStoreError::open(path, error)),
    };
    // Only the owner may do this, even if it changes nothing.
    if let Err(error) = set_permissions(path, Permissions::from_mode(PRIVATE)) {
        return Err(match error.kind() {
            io::ErrorKind::PermissionDenied => {
                SqliteStoreError::open(path, "it belongs to another user")
            }
            _ => SqliteStoreError::open(path, error),
        });
    }
    if found.mode() & 0o777 != PRIVATE {
        tracing::warn!(
            path = %path.display(),
            "other users could read or write a SQLite file; now only this user can",
        );
    }
    Ok(())
}

#[cfg(not(unix))]
pub(super) fn make_private(_: &Path) -> Result<(), SqliteStoreError> {
    Ok(())
}
