//! A secret file.

#[cfg(feature = "sqlite")]
mod make;

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{Failure, Secret};

/// The path of a secret, and whether the operator has named it.
pub(super) struct SecretFile {
    path: PathBuf,
    /// Kubernetes or Docker may mount a named file as a link, or readable by other users.
    is_named: bool,
}

/// In hexadecimal digits this is 128 bits.
const MIN_LENGTH: usize = 32;

/// A longer file is not a secret file.
const MAX_LENGTH: usize = 4096;

impl SecretFile {
    pub(super) fn named(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            is_named: true,
        }
    }

    /// The secret, if the file exists. Trailing white space is ignored: editors and shells add a line break.
    pub(super) fn read(&self) -> Result<Option<Secret>, Failure> {
        let metadata = if self.is_named {
            fs::metadata(&self.path)
        } else {
            fs::symlink_metadata(&self.path)
        };
        let found = match metadata {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found?,
        };
        if found.is_symlink() {
            return Err("it is a symbolic link, which may lead to another user's file".into());
        }
        if !found.is_file() {
            return Err("it is not a file".into());
        }
        let file = File::open(&self.path)?;
        self.check_opened(&file, &found)?;
        let mut text = Vec::new();
        file.take(MAX_LENGTH as u64 + 1).read_to_end(&mut text)?;
        let secret = text.trim_ascii_end();
        if text.len() > MAX_LENGTH {
            return Err(
                format!("it has more than {MAX_LENGTH} bytes, so it is not a secret file").into(),
            );
        }
        if secret.len() < MIN_LENGTH {
            let length = secret.len();
            return Err(
                format!("it has {length} bytes, and a secret has at least {MIN_LENGTH}").into(),
            );
        }
        Ok(Some(Secret(secret.into())))
    }

    /// Removes other users' access to a generated file; warns about other users' access to a named one.
    #[cfg(unix)]
    fn check_opened(&self, file: &File, found: &fs::Metadata) -> Result<(), Failure> {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};

        let opened = file.metadata()?;
        if (opened.dev(), opened.ino()) != (found.dev(), found.ino()) {
            return Err("it was replaced while it was being opened".into());
        }
        let path = self.path.display();
        if self.is_named {
            if opened.mode() & 0o007 != 0 {
                tracing::warn!(%path, "every user of this machine can read or write the secret file");
            }
            return Ok(());
        }
        if opened.mode() & 0o077 == 0 {
            return Ok(());
        }
        file.set_permissions(fs::Permissions::from_mode(0o600))
            .map_err(|error| match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    Failure::from("others can read or write it, and it belongs to another user")
                }
                _ => error.into(),
            })?;
        tracing::warn!(%path, "other users could read or write the secret file; now only this user can");
        Ok(())
    }

    #[cfg(not(unix))]
    fn check_opened(&self, _: &File, _: &fs::Metadata) -> Result<(), Failure> {
        Ok(())
    }
}
