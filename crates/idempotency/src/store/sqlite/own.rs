//! Whose a file is: one that others can read or write, or that has a second name, is not taken as it is.

use std::{fs::symlink_metadata, io, path::Path};

use super::SqliteError;

/// Refuses what is not a file with one name, if it is there.
pub(super) fn check(path: &Path) -> Result<(), SqliteError> {
    let refuse = |why: &str| Err(SqliteError::open(path, why));
    let found = match symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(SqliteError::open(path, error)),
    };
    if found.is_symlink() {
        return refuse("it is a symbolic link, which may lead to the file of somebody else");
    }
    if !found.is_file() {
        return refuse("it is not a file");
    }
    // The lock is found by the name, so each name would have one of its own.
    #[cfg(unix)]
    if std::os::unix::fs::MetadataExt::nlink(&found) > 1 {
        return refuse("it has more than one name: remove its other hard links");
    }
    Ok(())
}

/// Makes the file this user's alone, if it is there.
#[cfg(unix)]
pub(super) fn make_private(path: &Path) -> Result<(), SqliteError> {
    use std::{
        fs::{Permissions, set_permissions},
        os::unix::fs::{MetadataExt, PermissionsExt},
    };

    /// For this user to read and write.
    const PRIVATE: u32 = 0o600;

    let found = match symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(SqliteError::open(path, error)),
    };
    // Only the owner may do this, also where it changes nothing.
    if let Err(error) = set_permissions(path, Permissions::from_mode(PRIVATE)) {
        return Err(match error.kind() {
            io::ErrorKind::PermissionDenied => {
                SqliteError::open(path, "it belongs to another user")
            }
            _ => SqliteError::open(path, error),
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
pub(super) fn make_private(_: &Path) -> Result<(), SqliteError> {
    Ok(())
}
