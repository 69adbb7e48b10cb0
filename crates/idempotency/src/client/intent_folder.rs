use std::{
    io,
    path::{self, Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    disk::{create_folder, io_error, off_the_runtime, sweep_temporaries, sync_folder},
    error::IntentError,
    folder_mark::FolderMark,
    intent::Intent,
    intent_file::IntentFile,
};

/// A folder with the intents that a program has begun.
///
/// ```no_run
/// # use idempotency::client::IntentFolder;
/// # async fn example() -> Result<(), idempotency::client::IntentError> {
/// let intents = IntentFolder::open("/var/lib/shop/intents").await?;
/// let intent = intents.intent("order-17");
/// # Ok(())
/// # }
/// ```
///
/// [`create`](Self::create) makes it once, when the program is installed. On disk are the id, the key, the times and a digest of
/// the request, and neither its body, its credentials nor its response. Only its user can read them.
///
/// Several processes may use it, also with one id: all send the same key, and once one of them has
/// [finished](Intent::finish) the intent, no other begins a new operation.
///
/// The folder may be on any file system that renames a folder in one step, as all do. Removing intents needs file locks, too.
/// A crash of the program loses nothing. On Windows a power loss can take an intent whose first attempt has just been sent,
/// because a folder cannot be synced there.
#[derive(Clone, Debug)]
pub struct IntentFolder {
    path: Arc<Path>,
    mark: FolderMark,
}

impl IntentFolder {
    /// Makes the folder, or makes an existing folder one of intents, such as that of a mounted disk. Its parent has to exist.
    ///
    /// ```no_run
    /// # use idempotency::client::IntentFolder;
    /// # async fn example() -> Result<(), idempotency::client::IntentError> {
    /// IntentFolder::create("/var/lib/shop/intents").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Do this when you install the program, and not at each start: in a new folder every intent is a new operation.
    ///
    /// # Errors
    ///
    /// If it is one already ([`AlreadyExists`](io::ErrorKind::AlreadyExists)), or cannot be made.
    pub async fn create(path: impl Into<PathBuf>) -> Result<Self, IntentError> {
        let path: PathBuf = path.into();
        off_the_runtime(move || {
            let path = absolute(&path)?;
            create(&path)
        })
        .await
    }

    /// Opens a folder that [`create`](Self::create) has made. A relative path is one of the current directory at this call.
    ///
    /// It removes what processes have left that died while they wrote.
    ///
    /// # Errors
    ///
    /// [`IntentError::NoFolder`] if there is no such folder: the path is wrong, or its disk is not mounted.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, IntentError> {
        let path: PathBuf = path.into();
        off_the_runtime(move || {
            let path = absolute(&path)?;
            let mark = FolderMark::read(&path)?;
            sweep_temporaries(&path);
            Ok(Self {
                path: path.into(),
                mark,
            })
        })
        .await
    }

    /// The intent with this id, which the application chooses and knows again after a crash, such as an order's number.
    ///
    /// It is read or written when its request is sent. An id is for one operation: a corrected request needs another id.
    #[must_use]
    pub fn intent(&self, id: &str) -> Intent {
        Intent::on_disk(IntentFile::new(&self.path, self.mark.clone(), id))
    }

    /// Removes the intents that were [finished](Intent::finish) at least this long ago, and returns how many.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn example(intents: idempotency::client::IntentFolder) -> Result<(), idempotency::client::IntentError> {
    /// const MONTH: Duration = Duration::from_secs(30 * 24 * 3600);
    /// intents.remove_finished(MONTH).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Afterwards their ids stand for new operations, so keep them for longer than any program may still send them. The age is
    /// that of a file, by the wall clock. A file that cannot be read stays.
    ///
    /// # Errors
    ///
    /// If the folder cannot be read, or an intent cannot be removed.
    pub async fn remove_finished(&self, age: Duration) -> Result<u64, IntentError> {
        let Self { path, mark } = self.clone();
        off_the_runtime(move || {
            let mut removed = 0;
            for file in IntentFile::list(&path, &mark)? {
                let Ok(Some(record)) = file.read() else {
                    continue;
                };
                if file.finished_for(&record)?.is_some_and(|ago| ago >= age) {
                    file.remove(Some(&record.key))?;
                    removed += 1;
                }
            }
            Ok(removed)
        })
        .await
    }
}

fn absolute(path: &Path) -> Result<PathBuf, IntentError> {
    path::absolute(path).map_err(|error| io_error(path, error))
}

fn create(path: &Path) -> Result<IntentFolder, IntentError> {
    let error = |error| io_error(path, error);
    match create_folder(path) {
        Err(failed) if !path.is_dir() => return Err(error(failed)),
        Ok(()) | Err(_) => {}
    }
    match FolderMark::read(path) {
        Err(IntentError::NoFolder { .. }) => {}
        Ok(_) => return Err(error(io::ErrorKind::AlreadyExists.into())),
        Err(failed) => return Err(failed),
    }
    let mark = FolderMark::write(path)?;
    path.parent().map_or(Ok(()), sync_folder).map_err(error)?;
    Ok(IntentFolder {
        path: path.into(),
        mark,
    })
}
