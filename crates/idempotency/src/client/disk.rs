//! Writing that is whole or not there after a crash. Everything here blocks, except [`off_the_runtime`].

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::error::IntentError;

/// What a crash has left over is at least this old.
const LEFT_OVER_AFTER: Duration = Duration::from_secs(3600);

pub(super) fn io_error(path: &Path, source: io::Error) -> IntentError {
    IntentError::Io {
        path: path.to_owned(),
        source,
    }
}

/// A name in this folder that no other process uses.
pub(super) fn temporary(folder: &Path) -> PathBuf {
    folder.join(format!("{:032x}.tmp", rand::random::<u128>()))
}

/// Removes what processes that died in the middle have left. It gets another name first, so that a process which still writes there and
/// then renames it gets an error before it sends anything: otherwise its intent would be emptied under the name that it just got.
pub(super) fn sweep_temporaries(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        let is_temporary = path.extension().is_some_and(|ending| ending == "tmp");
        let written = || fs::symlink_metadata(&path).and_then(|metadata| metadata.modified());
        if is_temporary
            && written().is_ok_and(|written| {
                let age = SystemTime::now().duration_since(written);
                age.is_ok_and(|age| age > LEFT_OVER_AFTER)
            })
        {
            let removed = temporary(folder);
            if fs::rename(&path, &removed).is_ok() {
                remove_temporary(&removed);
            }
        }
    }
}

/// What is left over would only take room.
pub(super) fn remove_temporary(path: &Path) {
    drop(fs::remove_file(path));
    drop(fs::remove_dir_all(path));
}

/// Writes a new file that only its user can read: a key is a secret.
pub(super) fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Makes a folder that only its user can read.
pub(super) fn create_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Writes the file whole, in place of an earlier one.
pub(super) fn replace(folder: &Path, path: &Path, text: &str) -> io::Result<()> {
    let temporary = temporary(folder);
    let replaced = write_new(&temporary, text).and_then(|()| fs::rename(&temporary, path));
    if replaced.is_err() {
        remove_temporary(&temporary);
    }
    replaced?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Without this a power loss may remove a file's name although its bytes are on disk. Windows cannot open a folder for it.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) {
        File::open(folder)?.sync_all()
    } else {
        Ok(())
    }
}

/// Reads a file that may not exist.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, IntentError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error(path, error)),
    }
}

/// Does work that blocks on a thread for it.
///
/// Dropping the future does not stop work that has begun.
pub(super) async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is being dropped, and with it this future.
            Err(_) => std::future::pending().await,
        },
    }
}
