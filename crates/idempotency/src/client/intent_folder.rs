use std::{
    fs,
    path::{self, Path, PathBuf},
    sync::Arc,
};

use super::{
    error::IntentError,
    intent::Intent,
    intent_file::{IntentFile, io_error, sync_folder},
};

/// A folder with the intents that a program has begun, one file for each.
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
/// A file has the id, the key, the times and a digest of the request, and neither its body nor its credentials. Only its user
/// can read it. The folder has to be on a file system with hard links. Several processes may use it; then the one that
/// forgets an intent makes sure that no other still sends it, which would begin a new operation.
///
/// In an empty folder every intent is a new one. Check that a volume is mounted before you open a folder on it.
#[derive(Clone, Debug)]
pub struct IntentFolder {
    path: Arc<Path>,
}

impl IntentFolder {
    /// Opens the folder, and creates it if it does not exist; its parent has to. A relative path is one of the current
    /// directory at this call: a program that starts elsewhere has another folder, and new keys.
    ///
    /// # Errors
    ///
    /// If it can neither be opened nor created.
    pub async fn open(path: impl Into<PathBuf>) -> Result<Self, IntentError> {
        let path: PathBuf = path.into();
        off_the_runtime(move || {
            let path = path::absolute(&path).map_err(|error| io_error(&path, error))?;
            create(&path)?;
            Ok(Self { path: path.into() })
        })
        .await
    }

    /// The intent with this id, which the application chooses and knows again after a crash, such as an order's number.
    ///
    /// It is read or written when its request is sent. An id is for one operation: a corrected request needs another id.
    #[must_use]
    pub fn intent(&self, id: &str) -> Intent {
        Intent::on_disk(IntentFile::new(&self.path, id))
    }
}

fn create(path: &Path) -> Result<(), IntentError> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    let created = match builder.create(path) {
        Err(error) if !path.is_dir() => Err(error),
        // Also if it was there: the process that made it may have died before this line.
        Err(_) | Ok(()) => path.parent().map_or(Ok(()), sync_folder),
    };
    created.map_err(|error| io_error(path, error))
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
