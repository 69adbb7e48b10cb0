//! The task of each runtime that renews the holds of its runs.

use std::sync::{Arc, Weak};

use tokio::{
    runtime::{Handle, Id},
    sync::Notify,
};

use super::{
    active_runs::ActiveRuns,
    metrics::{self, Renewal},
    store_timeout::with_store_timeout,
};
use crate::{
    Fingerprint, Store,
    log_text::Causes,
    record::RecordId,
    store::{Hold, IfOwner},
};

/// Renews holds until all handles on the engine are gone, or until its runtime ends, and the runs there with it.
///
/// Another runtime's renewer would not do: that runtime may not be driven for a while, or a handler may block it.
pub(super) struct Heartbeat {
    runs: Weak<ActiveRuns>,
    earlier: Arc<Notify>,
    store: Arc<dyn Store>,
    runtime: Id,
}

impl Heartbeat {
    /// Starts a renewer in the current runtime.
    pub(super) fn start(runs: &Arc<ActiveRuns>, store: &Arc<dyn Store>, earlier: Arc<Notify>) {
        let runtime = Handle::current();
        let renewer = Self {
            runs: Arc::downgrade(runs),
            earlier,
            store: Arc::clone(store),
            runtime: runtime.id(),
        };
        runtime.spawn(async move { renewer.renew_all().await });
    }

    async fn renew_all(&self) {
        loop {
            let (due, wakes_at) = match self.runs.upgrade() {
                Some(runs) => runs.take_due(&self.runtime),
                None => return,
            };
            for (hold, fingerprint) in due {
                // Each in a task of its own, so that a slow store delays no other renewal.
                let (runs, store) = (Weak::clone(&self.runs), Arc::clone(&self.store));
                tokio::spawn(renew(runs, store, hold, fingerprint));
            }
            let sleep = async {
                match wakes_at {
                    Some(wakes_at) => tokio::time::sleep_until(wakes_at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // Not by chance, so that a simulation can be repeated.
                biased;
                () = sleep => {}
                () = self.earlier.notified() => {}
            }
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        if let Some(runs) = self.runs.upgrade() {
            runs.forget(&self.runtime);
        }
    }
}

async fn renew(
    runs: Weak<ActiveRuns>,
    store: Arc<dyn Store>,
    hold: Hold,
    fingerprint: Fingerprint,
) {
    // The run may have ended before this task was scheduled.
    if !runs.upgrade().is_some_and(|runs| runs.is_held(&hold.token)) {
        return;
    }
    let renewed = match with_store_timeout(&store, store.renew(&hold)).await {
        Ok(IfOwner::Done(())) => return metrics::renewal(Renewal::Renewed),
        Ok(IfOwner::NotOwner) => {
            // The run has just ended, or the store has lost its record, or another run took the key over.
            let Some(runs) = runs.upgrade().filter(|runs| runs.is_held(&hold.token)) else {
                return;
            };
            let reclaimed = runs.reclaim(store.as_ref(), &hold, &fingerprint).await;
            match reclaimed {
                Ok(true) => metrics::renewal(Renewal::Reclaimed),
                Ok(false) if runs.give_up(&hold.token) => {
                    metrics::renewal(Renewal::Lost);
                    warn_lost(&store, &hold.id);
                }
                Ok(false) | Err(_) => {}
            }
            reclaimed
        }
        Err(error) => Err(error),
    };
    if let Err(error) = renewed {
        metrics::renewal(Renewal::Failed);
        if let Some(runs) = runs.upgrade() {
            runs.renew_soon(&hold);
        }
        tracing::warn!(
            idempotency.store = store.name(),
            idempotency.record = %hold.id,
            error = %Causes(&error),
            "a hold could not be renewed; the next attempt is in a tenth of its lease",
        );
    }
}

fn warn_lost(store: &dyn Store, id: &RecordId) {
    tracing::warn!(
        idempotency.store = store.name(),
        idempotency.record = %id,
        "a run has lost its hold and can store nothing",
    );
}
