//! Changes of keys that continue after their client has disconnected.

use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, RwLock};

/// The changes that are being made. Shutdown waits for them, because each has been logged as requested and its result must be
/// logged too.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnderWay(Arc<RwLock<()>>);

impl UnderWay {
    /// Counts a change until the returned guard is dropped.
    pub(crate) async fn begin(&self) -> OwnedRwLockReadGuard<()> {
        Arc::clone(&self.0).read_owned().await
    }

    /// Waits for the changes that have begun.
    pub(crate) async fn ended(&self) {
        drop(self.0.write().await);
    }
}
