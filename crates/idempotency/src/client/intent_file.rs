//! What is on disk of one intent. Everything here blocks.
//!
//! An intent is a folder, which appears under its name with the key in it, and disappears whole. The files next to the key concern
//! that key by their names, so a late file says nothing about a key that was made in the meantime. No file is read, changed
//! and written again, so processes need no lock to begin, to learn or to finish; only those that remove exclude each other.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{
    disk::{
        create_folder, io_error, read, remove_temporary, replace, sync_folder, temporary, write_new,
    },
    error::IntentError,
    folder_mark::FolderMark,
    intent_record::{Begun, Expiry, IntentRecord, hex},
    removal::Removal,
};
use crate::{IdempotencyKey, fingerprint::digest};

#[derive(Clone, Debug)]
pub(super) struct IntentFile {
    folder: PathBuf,
    mark: FolderMark,
    path: PathBuf,
    /// That of the application, unless the file was found in the folder.
    id: Option<String>,
}

impl IntentFile {
    /// The name is a digest, because an id may have letters that a file name may not have, or differ from another one only in
    /// case.
    pub(super) fn new(folder: &Path, mark: FolderMark, id: &str) -> Self {
        let name = hex(&digest([b"intent file 1".as_slice(), id.as_bytes()]));
        Self {
            path: folder.join(name),
            folder: folder.to_owned(),
            mark,
            id: Some(id.to_owned()),
        }
    }

    /// All intents of a folder.
    pub(super) fn list(folder: &Path, mark: &FolderMark) -> Result<Vec<Self>, IntentError> {
        let error = |error| io_error(folder, error);
        let mut files = Vec::new();
        for entry in fs::read_dir(folder).map_err(error)? {
            let name = entry.map_err(error)?.file_name();
            if name.len() == 64 {
                files.push(Self {
                    path: folder.join(name),
                    folder: folder.to_owned(),
                    mark: mark.clone(),
                    id: None,
                });
            }
        }
        Ok(files)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes the record that this makes, unless there is an earlier one, which is returned then. Either is on disk when this
    /// returns.
    pub(super) fn begin(
        &self,
        record: impl FnOnce() -> IntentRecord,
    ) -> Result<Begun, IntentError> {
        let begun = match self.read()? {
            Some(record) => self.earlier(record)?,
            None => self.create(record())?,
        };
        // Also for an earlier one: the process that wrote it may have died before this line.
        sync_folder(&self.folder).map_err(|error| io_error(&self.folder, error))?;
        Ok(begun)
    }

    /// What this process has begun, if it is still there.
    pub(super) fn resume(&self, key: &IdempotencyKey) -> Result<Option<Begun>, IntentError> {
        let record = self.read()?.filter(|record| record.key == *key);
        record.map(|record| self.earlier(record)).transpose()
    }

    /// The record that is there.
    pub(super) fn read(&self) -> Result<Option<IntentRecord>, IntentError> {
        let path = self.path.join("intent.json");
        let Some(text) = read(&path)? else {
            // Where the disk is not mounted, nothing is there either, and nothing is new, finished or forgotten for that.
            self.mark.check(&self.folder)?;
            return Ok(None);
        };
        let record = IntentRecord::from_text(&text, self.id.as_deref());
        let Some(mut record) = record else {
            return Err(IntentError::Unreadable { path });
        };
        let path = self.expiry_path(&record);
        if let Some(text) = read(&path)? {
            let expiry = Expiry::from_text(&text);
            record.expiry = Some(expiry.ok_or(IntentError::Unreadable { path })?);
        }
        Ok(Some(record))
    }

    /// Keeps what the service has said of the key's end.
    pub(super) fn keep_expiry(&self, record: &IntentRecord) -> Result<(), IntentError> {
        match record.expiry {
            Some(expiry) => self.add(&self.expiry_path(record), &expiry.to_text()),
            None => Ok(()),
        }
    }

    /// From now on nothing is sent with this key.
    pub(super) fn finish(&self, record: &IntentRecord) -> Result<(), IntentError> {
        self.add(&self.finished_path(record), "\n")
    }

    /// How long ago the key was finished.
    pub(super) fn finished_for(
        &self,
        record: &IntentRecord,
    ) -> Result<Option<Duration>, IntentError> {
        let path = self.finished_path(record);
        match fs::metadata(&path).and_then(|metadata| metadata.modified()) {
            Ok(at) => Ok(Some(
                SystemTime::now().duration_since(at).unwrap_or_default(),
            )),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error(&path, error)),
        }
    }

    /// Removes the intent, unless its key is no longer this one.
    pub(super) fn remove(&self, expected: Option<&IdempotencyKey>) -> Result<(), IntentError> {
        self.mark.check(&self.folder)?;
        let _removal = Removal::begin(&self.folder)?;
        // Only a removal makes room for another key, so the key stays the same from here on.
        if let Some(expected) = expected {
            match self.read() {
                Ok(Some(current)) if current.key == *expected => {}
                Ok(_) => return Ok(()),
                // The application asks to forget what cannot be understood, too.
                Err(IntentError::Unreadable { .. }) => {}
                // It may be the intent of another key.
                Err(error) => return Err(error),
            }
        }
        let removed = temporary(&self.folder);
        match fs::rename(&self.path, &removed) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error(&self.path, error)),
            Ok(()) => remove_temporary(&removed),
        }
        sync_folder(&self.folder).map_err(|error| io_error(&self.folder, error))
    }

    /// Another process may do the same: the first name wins, and both get its key.
    fn create(&self, record: IntentRecord) -> Result<Begun, IntentError> {
        let temporary = temporary(&self.folder);
        let text = record.to_text(self.id.as_deref().unwrap_or_default());
        let created = create_folder(&temporary)
            .and_then(|()| write_new(&temporary.join("intent.json"), &text))
            .and_then(|()| sync_folder(&temporary))
            // Fails if the name is that of a folder with a file in it, on every file system.
            .and_then(|()| fs::rename(&temporary, &self.path));
        let Err(error) = created else {
            return Ok(Begun {
                record,
                is_earlier: false,
                is_finished: false,
            });
        };
        remove_temporary(&temporary);
        match self.read()? {
            Some(record) => self.earlier(record),
            None => Err(io_error(&self.path, error)),
        }
    }

    fn earlier(&self, record: IntentRecord) -> Result<Begun, IntentError> {
        Ok(Begun {
            is_finished: self.finished_for(&record)?.is_some(),
            is_earlier: true,
            record,
        })
    }

    /// Writes a file about a key, unless its intent was forgotten.
    fn add(&self, path: &Path, text: &str) -> Result<(), IntentError> {
        match replace(&self.folder, path, text) {
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && matches!(self.path.try_exists(), Ok(false)) =>
            {
                // Where the disk is not mounted, nothing was forgotten.
                self.mark.check(&self.folder)
            }
            added => added.map_err(|error| io_error(path, error)),
        }
    }

    fn expiry_path(&self, record: &IntentRecord) -> PathBuf {
        self.path.join(format!("expiry-{}.json", record.key_name()))
    }

    fn finished_path(&self, record: &IntentRecord) -> PathBuf {
        self.path.join(format!("finished-{}", record.key_name()))
    }
}
