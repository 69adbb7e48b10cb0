//! The one task that renews all holds.

use std::sync::{Arc, Weak};

use tokio::{
    runtime::{Handle, Id},
    sync::Notify,
};

use super::{bounded::bounded, runs::Runs};
use crate::{Fenced, Fingerprint, Hold, RecordId, Store, log_text::Causes};

/// Renews until all handles on the engine are gone. When its runtime ends, it goes on in that of another run.
pub(super) struct Renewer {
    runs: Weak<Runs>,
    earlier: Arc<Notify>,
    store: Arc<dyn Store>,
    /// Its runtime is the last of them, and the others have ended.
    runtimes: Vec<Id>,
}

impl Renewer {
    /// Starts one in the current runtime.
    pub(super) fn start(runs: &Arc<Runs>, store: &Arc<dyn Store>) {
        let renewer = Self {
            runs: Arc::downgrade(runs),
            earlier: Arc::clone(&runs.earlier),
            store: Arc::clone(store),
            runtimes: Vec::new(),
        };
        renewer.spawn(&Handle::current());
    }

    fn spawn(mut self, runtime: &Handle) {
        self.runtimes.push(runtime.id());
        runtime.spawn(async move { self.renew_all().await });
    }

    async fn renew_all(&self) {
        loop {
            let (due, wakes_at) = match self.runs.upgrade() {
                Some(runs) => runs.take_due(),
                None => return,
            };
            for (hold, fingerprint) in due {
                // Each in its own task, so that a slow store delays no other renewal.
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
                () = sleep => {}
                () = self.earlier.notified() => {}
            }
        }
    }
}

impl Drop for Renewer {
    fn drop(&mut self) {
        // Its runtime has ended, but the engine may be used from others.
        let Some(runs) = self.runs.upgrade() else {
            return;
        };
        if let Some(runtime) = runs.next_runtime(&self.runtimes) {
            let next = Self {
                runs: Weak::clone(&self.runs),
                earlier: Arc::clone(&self.earlier),
                store: Arc::clone(&self.store),
                runtimes: std::mem::take(&mut self.runtimes),
            };
            next.spawn(&runtime);
        }
    }
}

async fn renew(runs: Weak<Runs>, store: Arc<dyn Store>, hold: Hold, fingerprint: Fingerprint) {
    // The run may have ended before this task had its turn.
    if !runs.upgrade().is_some_and(|runs| runs.is_held(&hold.token)) {
        return;
    }
    let renewed = match bounded(store.renew(&hold)).await {
        Ok(Fenced::Done(())) => return,
        Ok(Fenced::Lost) => {
            // The run has just ended, or the store has lost its record, or another run took over.
            let Some(runs) = runs.upgrade().filter(|runs| runs.is_held(&hold.token)) else {
                return;
            };
            let reclaimed = runs.reclaim(store.as_ref(), &hold, &fingerprint).await;
            if matches!(reclaimed, Ok(false)) && runs.give_up(&hold.token) {
                warn_lost(&hold.id);
            }
            reclaimed
        }
        Err(error) => Err(error),
    };
    if let Err(error) = renewed {
        if let Some(runs) = runs.upgrade() {
            runs.renew_soon(&hold);
        }
        tracing::warn!(
            idempotency.record = %hold.id,
            error = %Causes(&error),
            "a hold could not be renewed; the next try is in a tenth of its lease",
        );
    }
}

fn warn_lost(id: &RecordId) {
    tracing::warn!(idempotency.record = %id, "a run has lost its hold and can store nothing");
}
