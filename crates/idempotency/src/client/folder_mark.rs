//! The file that makes a folder one of intents.

use std::path::{Path, PathBuf};

use super::{
    disk::{read, replace},
    error::IntentError,
};

/// The random name of a folder. If it is missing or differs, the folder's disk is not mounted, and each intent would look
/// like a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FolderMark(Vec<u8>);

impl FolderMark {
    pub(super) fn read(folder: &Path) -> Result<Self, IntentError> {
        let missing = || IntentError::NoFolder {
            path: folder.to_owned(),
        };
        match read(&path(folder))? {
            Some(mark) if !mark.is_empty() => Ok(Self(mark)),
            Some(_) | None => Err(missing()),
        }
    }

    pub(super) fn write(folder: &Path) -> Result<Self, IntentError> {
        let text = format!("{:032x}\n", rand::random::<u128>());
        let path = path(folder);
        let written = replace(folder, &path, &text);
        written.map_err(|error| super::disk::io_error(&path, error))?;
        Ok(Self(text.into_bytes()))
    }

    /// Whether this is still that folder.
    pub(super) fn check(&self, folder: &Path) -> Result<(), IntentError> {
        if *self == Self::read(folder)? {
            Ok(())
        } else {
            Err(IntentError::NoFolder {
                path: folder.to_owned(),
            })
        }
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join("folder-of-intents")
}
