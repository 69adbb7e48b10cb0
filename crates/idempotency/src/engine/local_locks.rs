//! In-process locks for transactional runs, whose keys reach the store only at commit.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::active_runs::MAX_EXECUTION;
use crate::{
    Fingerprint,
    record::RecordId,
    store::{Polling, Subscription, Wakeups},
};

/// Where duplicates within the process meet.
#[derive(Default)]
pub(super) struct LocalLocks {
    // A plain lock: nothing is awaited under it.
    keys: Mutex<HashMap<RecordId, Key>>,
    wakeups: Wakeups,
}

/// A key that has requests in this process.
#[derive(Default)]
struct Key {
    visits: usize,
    running: Option<Running>,
    /// Number of runs that ended since this entry was created. A store read from before the last one is stale.
    ended: u64,
}

/// The run that holds the key in this process.
struct Running {
    fingerprint: Fingerprint,
    began: Instant,
}

/// One request on its key, from its first read to its end.
pub(super) struct LocalLock {
    keys: Arc<LocalLocks>,
    id: RecordId,
    ended: u64,
    /// When its own run began.
    began: Option<Instant>,
}

impl LocalLocks {
    pub(super) fn enter(keys: &Arc<Self>, id: &RecordId) -> LocalLock {
        keys.keys.lock().entry(*id).or_default().visits += 1;
        LocalLock {
            keys: Arc::clone(keys),
            id: *id,
            ended: 0,
            began: None,
        }
    }
}

impl LocalLock {
    /// The fingerprint of the run that has the key now. A store read after this call sees every run that ended before it.
    pub(super) fn running(&mut self) -> Option<Fingerprint> {
        let keys = self.keys.keys.lock();
        let key = keys.get(&self.id)?;
        self.ended = key.ended;
        let running = key.running.as_ref().filter(|running| running.is_live())?;
        Some(running.fingerprint)
    }

    /// Takes the key. Returns false if a run has begun or ended since the last call of [`running`](Self::running).
    pub(super) fn acquire(&mut self, fingerprint: &Fingerprint) -> bool {
        let mut keys = self.keys.keys.lock();
        let Some(key) = keys.get_mut(&self.id) else {
            return false;
        };
        if key.running.as_ref().is_some_and(Running::is_live) || key.ended != self.ended {
            return false;
        }
        let began = Instant::now();
        key.running = Some(Running {
            fingerprint: *fingerprint,
            began,
        });
        self.began = Some(began);
        true
    }

    /// Subscribes to the key's release, of which nothing is missed here. The poll each second is for a lease that expires
    /// in another process.
    pub(super) fn subscribe(&self) -> Subscription {
        let polling = Polling::every(Duration::from_secs(1));
        self.keys.wakeups.subscribe(&self.id, polling)
    }
}

impl Running {
    /// Whether it keeps other requests out. A run that hangs eventually releases its key, as it does under a lease.
    fn is_live(&self) -> bool {
        self.began.elapsed() < MAX_EXECUTION
    }
}

impl Drop for LocalLock {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.keys.keys.lock().entry(self.id) {
            let key = entry.get_mut();
            key.visits -= 1;
            if self.began.is_some() {
                // If a run has hung for a day, the key may now belong to another run.
                key.running
                    .take_if(|running| self.began == Some(running.began));
                key.ended += 1;
            }
            if key.visits == 0 {
                entry.remove();
            }
        }
        if self.began.is_some() {
            self.keys.wakeups.wake(&self.id);
        }
    }
}
