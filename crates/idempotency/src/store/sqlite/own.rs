//! Whose a file is: one that others can read or write, or that has a second name, is not taken as it is.

#[cfg(unix)]
use std::os::unix::fs::MetadataExt;
use std::{fs::symlink_metadata, io, path::Path};

use super::SqliteStoreError;

/// Refuses what is not a file of this user with one name, if it is there. It changes nothing.
pub(super) fn check(path: &Path) -> Result<(), SqliteStoreError> {
    let refuse = |why: &str| Err(SqliteStoreError::open(path, why));
    let found = match symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(SqliteStoreError::open(path, error)),
    };
    if found.is_symlink() {
        return refuse("it is a symbolic link, which may lead to the file of somebody else");
    }
    if !found.is_file() {
        return refuse("it is not a file");
    }
    // The lock is found by the name, so each name would have one of its own.
    #[cfg(unix)]
    if found.nlink() > 1 {
        return refuse("it has more than one name: remove its other hard links");
    }
    // Root may open every file, and its owner would stay the one who can read and change it.
    #[cfg(unix)]
    if found.uid() != rustix::process::geteuid().as_raw() {
        return refuse(
            "it belongs to another user: give it to the user of this process with chown, or name another file",
        );
    }
    Ok(())
}

/// Which file a name stands for.
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
    // Elsewhere nobody moves a file that is open.
    symlink_metadata(path).map(|_| Identity {
        device: 0,
        inode: 0,
    })
}

/// Makes the file this user's alone, if it is there.
#[cfg(unix)]
pub(super) fn make_private(path: &Path) -> Result<(), SqliteStoreError> {
    use std::{
        fs::{Permissions, set_permissions},
        os::unix::fs::PermissionsExt,
    };

    /// For this user to read and write.
    const PRIVATE: u32 = 0o600;

    let found = match symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(SqliteStoreError::open(path, error)),
    };
    // Only the owner may do this, also where it changes nothing.
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
            "others could read or write a SQLite file, which now only this user can",
        );
    }
    Ok(())
}

#[cfg(not(unix))]
pub(super) fn make_private(_: &Path) -> Result<(), SqliteStoreError> {
    Ok(())
}
