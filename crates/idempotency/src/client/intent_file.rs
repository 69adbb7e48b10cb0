//! The file of one intent. Everything here blocks.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use super::{
    error::IntentError,
    intent_record::{Begun, IntentRecord, hex},
};
use crate::fingerprint::digest;

#[derive(Clone, Debug)]
pub(super) struct IntentFile {
    folder: PathBuf,
    path: PathBuf,
    id: String,
}

impl IntentFile {
    /// The name is a digest, because an id may have letters that a file name may not have, or differ from another one only in
    /// case.
    pub(super) fn new(folder: &Path, id: &str) -> Self {
        let name = hex(&digest([b"intent file 1".as_slice(), id.as_bytes()]));
        Self {
            path: folder.join(format!("{name}.json")),
            folder: folder.to_owned(),
            id: id.to_owned(),
        }
    }

    /// Writes the record that this makes, unless there is an earlier one, which is returned then. Either is on disk when this
    /// returns.
    pub(super) fn begin(
        &self,
        record: impl FnOnce() -> IntentRecord,
    ) -> Result<Begun, IntentError> {
        let begun = match self.read()? {
            Some(record) => Begun {
                record,
                is_earlier: true,
            },
            None => self.create(record())?,
        };
        // Also for an earlier one: the process that wrote it may have died before this line.
        sync_folder(&self.folder).map_err(|error| io_error(&self.folder, error))?;
        Ok(begun)
    }

    /// Replaces the record, unless the intent was forgotten meanwhile, or begun anew.
    pub(super) fn update(&self, record: &IntentRecord) -> Result<(), IntentError> {
        if self.read()?.is_none_or(|current| current.key != record.key) {
            return Ok(());
        }
        let temporary = self.write_temporary(record)?;
        let renamed = fs::rename(&temporary, &self.path).inspect_err(|_| {
            drop(fs::remove_file(&temporary));
        });
        let synced = renamed.and_then(|()| sync_folder(&self.folder));
        synced.map_err(|error| io_error(&self.path, error))
    }

    pub(super) fn remove(&self) -> Result<(), IntentError> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error(&self.path, error));
            }
            Ok(()) | Err(_) => {}
        }
        sync_folder(&self.folder).map_err(|error| io_error(&self.folder, error))
    }

    fn read(&self) -> Result<Option<IntentRecord>, IntentError> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error(&self.path, error)),
        };
        let record = IntentRecord::from_text(&text, &self.id);
        let unreadable = || IntentError::Unreadable {
            path: self.path.clone(),
        };
        record.ok_or_else(unreadable).map(Some)
    }

    /// Another process may do the same: the first link wins, and both get its key.
    fn create(&self, record: IntentRecord) -> Result<Begun, IntentError> {
        let temporary = self.write_temporary(&record)?;
        let linked = fs::hard_link(&temporary, &self.path);
        // What is left over would only take room.
        drop(fs::remove_file(&temporary));
        match linked {
            Ok(()) => Ok(Begun {
                record,
                is_earlier: false,
            }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let record = self.read()?.ok_or_else(|| io_error(&self.path, error))?;
                Ok(Begun {
                    record,
                    is_earlier: true,
                })
            }
            Err(error) => Err(io_error(&self.path, error)),
        }
    }

    /// The whole record in a file of its own, so that no crash leaves half of it under the intent's name.
    fn write_temporary(&self, record: &IntentRecord) -> Result<PathBuf, IntentError> {
        let name = format!("{:032x}.tmp", rand::random::<u128>());
        let temporary = self.folder.join(name);
        let text = record.to_text(&self.id);
        let written = create_private(&temporary).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        written.map_err(|error| {
            drop(fs::remove_file(&temporary));
            io_error(&temporary, error)
        })?;
        Ok(temporary)
    }
}

pub(super) fn io_error(path: &Path, source: io::Error) -> IntentError {
    IntentError::Io {
        path: path.to_owned(),
        source,
    }
}

/// A key is a secret of its user.
fn create_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Without this a power loss may remove a file's name although its bytes are on disk. Windows cannot open a folder for it.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()
    } else {
        Ok(())
    }
}
