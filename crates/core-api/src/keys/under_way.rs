//! Changes of keys that go on although their client has left.

use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, RwLock};

/// The changes that are being made. A stop waits for them: each is in the log as asked for, and what came of it has to follow.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnderWay(Arc<RwLock<()>>);

impl UnderWay {
    /// Notes a change, until this is dropped.
    pub(crate) async fn begin(&self) -> OwnedRwLockReadGuard<()> {
        Arc::clone(&self.0).read_owned().await
    }

    /// Waits for those that have begun.
    pub(crate) async fn ended(&self) {
        drop(self.0.write().await);
    }
}
