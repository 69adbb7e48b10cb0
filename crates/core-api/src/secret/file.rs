//! The file of a secret.

use std::{
    fs,
    fs::{File, OpenOptions},
    io,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::{Failure, Secret};

/// Where a secret is, and who says so.
pub(super) struct SecretFile {
    path: PathBuf,
    /// The operator names it, who may have it mounted by Kubernetes or Docker, as a link, or readable by others.
    is_named: bool,
}

/// In hexadecimal digits that is 128 bits.
const LEAST: usize = 32;

/// More is another file.
const MOST: usize = 4096;

impl SecretFile {
    pub(super) fn named(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            is_named: true,
        }
    }

    pub(super) fn beside(database: &Path, suffix: &str) -> Self {
        let mut path = database.as_os_str().to_owned();
        path.push(suffix);
        Self {
            path: path.into(),
            is_named: false,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The secret, if there is a file. White space at the end does not count: editors and shells add a line's end.
    pub(super) fn read(&self) -> Result<Option<Secret>, Failure> {
        let look = match self.is_named {
            true => fs::metadata(&self.path),
            false => fs::symlink_metadata(&self.path),
        };
        let found = match look {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => found?,
        };
        if found.is_symlink() {
            return Err(
                "it is a symbolic link, which may lead to the file of somebody else".into(),
            );
        }
        if !found.is_file() {
            return Err("it is not a file".into());
        }
        let file = File::open(&self.path)?;
        self.check_opened(&file, &found)?;
        let mut text = Vec::new();
        file.take(MOST as u64 + 1).read_to_end(&mut text)?;
        let secret = text.trim_ascii_end();
        if text.len() > MOST {
            return Err(format!("it has more than {MOST} bytes, so it is not a secret's").into());
        }
        if secret.len() < LEAST {
            let length = secret.len();
            return Err(format!("it has {length} bytes, and a secret has at least {LEAST}").into());
        }
        Ok(Some(Secret(secret.into())))
    }

    /// The secret, in a file that is made if there is none. Of several processes that do this at once one makes it.
    pub(super) fn read_or_make(&self) -> Result<Secret, Failure> {
        if let Some(secret) = self.read()? {
            return Ok(secret);
        }
        self.make()?;
        let made = self.read()?;
        made.ok_or_else(|| "it is a link to a file that is not there".into())
    }

    /// Links a file that is complete and on the disk into place, unless there is one by now.
    fn make(&self) -> Result<(), Failure> {
        let digits = Secret::random()?.map(|byte| format!("{byte:02x}"));
        let mut draft = self.path.as_os_str().to_owned();
        draft.push(format!(".{}", Uuid::new_v4()));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&draft)?;
        let written = file
            .write_all(format!("{}\n", digits.concat()).as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| match fs::hard_link(&draft, &self.path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                linked => linked,
            });
        let removed = fs::remove_file(&draft);
        written.and(removed)?;
        self.sync_folder()?;
        Ok(())
    }

    /// A power cut must not take the file away that the database is going to ask for.
    #[cfg(unix)]
    fn sync_folder(&self) -> io::Result<()> {
        let folder = match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        File::open(folder)?.sync_all()
    }

    #[cfg(not(unix))]
    fn sync_folder(&self) -> io::Result<()> {
        Ok(())
    }

    /// Makes the file this user's alone; of a named one it is only said that it is not.
    #[cfg(unix)]
    fn check_opened(&self, file: &File, found: &fs::Metadata) -> Result<(), Failure> {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};

        let opened = file.metadata()?;
        if (opened.dev(), opened.ino()) != (found.dev(), found.ino()) {
            return Err("it was exchanged while it was opened".into());
        }
        let path = self.path.display();
        if self.is_named {
            if opened.mode() & 0o007 != 0 {
                tracing::warn!(%path, "every user of this machine can read or write the file of the secret");
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
        tracing::warn!(%path, "others could read or write the file of the secret, which now only this user can");
        Ok(())
    }

    #[cfg(not(unix))]
    fn check_opened(&self, _: &File, _: &fs::Metadata) -> Result<(), Failure> {
        Ok(())
    }
}
