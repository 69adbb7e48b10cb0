//! Makes a token, and adds its line to the file.

use std::{
    ffi::OsString,
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::{Digest, Expiry, Failure, Holder, Role, Subject, Table, file, line::Line};
use crate::secret;

/// A new token.
pub(crate) struct New {
    /// What its holder sends. It is stored nowhere else.
    pub(crate) token: String,
    line: Line,
}

/// Lets people and secret scanners recognise a token.
const PREFIX: &str = "core_api_";

impl New {
    /// 256 random bits.
    pub(crate) fn random(
        subject: Subject,
        role: Role,
        expires: Option<Expiry>,
    ) -> Result<Self, Failure> {
        let digits = secret::random_bytes()?.map(|byte| format!("{byte:02x}"));
        let token = format!("{PREFIX}{}", digits.concat());
        let line = Line {
            digest: Digest::of(token.as_bytes()),
            holder: Holder { subject, role },
            expires,
        };
        Ok(Self { token, line })
    }

    /// The line of the file that makes it valid.
    pub(crate) fn line(&self) -> String {
        self.line.to_string()
    }

    /// Adds the line to the file, which is created if it does not exist. Even after a power cut the file is either unchanged or has the
    /// whole line.
    pub(crate) fn add_to(&self, path: &Path) -> Result<(), Failure> {
        let locked = Locked::open(path)?;
        let mut text = file::read_all(&locked.file)?;
        // A file that already has a mistake is left as it is.
        if !text.trim_ascii().is_empty() {
            Table::read(&text)?;
        }
        text.push_str(&format!("{}\n", self.line));
        // The new file must be one that a service accepts.
        file::check_length(text.len())?;
        Table::read(&text)?;
        locked.replace(&text)
    }
}

/// The file, locked against other processes that add tokens.
struct Locked {
    file: File,
    /// Its path, with symbolic links resolved.
    path: PathBuf,
}

impl Locked {
    /// Opens the file, or creates an empty one, and waits for processes that are changing it.
    fn open(path: &Path) -> Result<Self, Failure> {
        loop {
            let mut options = OpenOptions::new();
            options.read(true).append(true).create(true);
            private(&mut options);
            if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
                return Err("it is not a file".into());
            }
            let file = options.open(path)?;
            file.lock()?;
            let path = fs::canonicalize(path)?;
            // Another process may have replaced the file while this one waited.
            if is_same(&file.metadata()?, &fs::metadata(&path)?) {
                return Ok(Self { file, path });
            }
        }
    }

    /// Replaces the file's text atomically. Only the owner of the lock writes the draft, so the draft of a killed process is overwritten.
    fn replace(&self, text: &str) -> Result<(), Failure> {
        let mut draft: OsString = self.path.clone().into();
        draft.push(".new");
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        private(&mut options);
        let mut file = options.open(&draft)?;
        let replaced = keep_access(&file, &self.file.metadata()?)
            .and_then(|()| file.write_all(text.as_bytes()))
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&draft, &self.path));
        if let Err(error) = replaced {
            drop(fs::remove_file(&draft));
            return Err(error.into());
        }
        Ok(sync_folder(&self.path)?)
    }
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
}

#[cfg(not(unix))]
fn private(_: &mut OpenOptions) {}

#[cfg(unix)]
fn is_same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;

    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn is_same(_: &Metadata, _: &Metadata) -> bool {
    true
}

/// Gives the draft the owner and the mode of the file: a service that runs as another user has to read it.
#[cfg(unix)]
fn keep_access(draft: &File, found: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};

    let made = draft.metadata()?;
    if (made.uid(), made.gid()) != (found.uid(), found.gid()) {
        fchown(draft, Some(found.uid()), Some(found.gid()))?;
    }
    draft.set_permissions(found.permissions())
}

#[cfg(not(unix))]
fn keep_access(_: &File, _: &Metadata) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}
