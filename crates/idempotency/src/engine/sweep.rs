//! Removes expired records.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::{metrics, store_timeout::with_store_timeout};
use crate::{Store, log_text::Causes};

/// How many records one call removes: few enough to delay no request.
const BATCH: usize = 512;

/// The pause after each batch. A sweep of a million keys that took all of a core would make requests wait for the
/// scheduler, and no request waits for the sweep.
const PAUSE: Duration = Duration::from_millis(1);

/// The background task that sweeps while its engine lives.
#[derive(Default)]
pub(super) struct Sweeper(Mutex<Option<JoinHandle<()>>>);

impl Sweeper {
    /// Starts the task with the first request, and again where its runtime has gone.
    pub(super) fn ensure_running(&self, store: &Arc<dyn Store>, every: Duration) {
        let mut task = self.0.lock();
        if task.as_ref().is_none_or(JoinHandle::is_finished) {
            *task = Some(tokio::spawn(sweep(Arc::downgrade(store), every)));
        }
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        if let Some(task) = self.0.get_mut() {
            task.abort();
        }
    }
}

async fn sweep(store: Weak<dyn Store>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(store) = store.upgrade() else { return };
        let mut removed = 0;
        let is_swept = loop {
            match with_store_timeout(&store, store.purge_expired(BATCH)).await {
                Ok(0) => break true,
                Ok(batch) => {
                    metrics::expired(batch);
                    removed += batch;
                }
                Err(error) => {
                    tracing::warn!(
                        idempotency.store = store.name(),
                        error = %Causes(&error),
                        "expired keys could not be removed; the next sweep retries",
                    );
                    break false;
                }
            }
            tokio::time::sleep(PAUSE).await;
        };
        tracing::debug!(
            idempotency.store = store.name(),
            removed,
            "swept expired keys"
        );
        if is_swept && metrics::ARE_RECORDED {
            measure(&store).await;
        }
    }
}

/// Shows how many records are left.
async fn measure(store: &Arc<dyn Store>) {
    match with_store_timeout(store, store.live_records()).await {
        Ok(Some(records)) => metrics::live(store.name(), records),
        Ok(None) => {}
        Err(error) => tracing::warn!(
            idempotency.store = store.name(),
            error = %Causes(&error),
            "the keys that are stored could not be counted",
        ),
    }
}
