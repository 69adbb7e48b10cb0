//! The keys whose transactions run in this process, of which no store knows yet.

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

/// A key that somebody looks at or runs under.
#[derive(Default)]
struct Key {
    visits: usize,
    running: Option<Running>,
    /// How many runs have ended since it is here. What was seen in the store before the last one is out of date.
    ended: u64,
}

/// The run that has the key in this process.
struct Running {
    fingerprint: Fingerprint,
    began: Instant,
}

/// One request at its key, from its first look to its end.
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
    /// What runs under the key now. What is seen in the store after this tells of every run that has ended before it.
    pub(super) fn running(&mut self) -> Option<Fingerprint> {
        let keys = self.keys.keys.lock();
        let key = keys.get(&self.id)?;
        self.ended = key.ended;
        let running = key.running.as_ref().filter(|running| running.is_live())?;
        Some(running.fingerprint)
    }

    /// Takes the key; false if a run has begun or ended since [`running`](Self::running) was asked.
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

    /// Listens for the key to come free. The second is for a lease that lapses elsewhere; nothing here is missed.
    pub(super) fn subscribe(&self) -> Subscription {
        let polling = Polling::every(Duration::from_secs(1));
        self.keys.wakeups.subscribe(&self.id, polling)
    }
}

impl Running {
    /// Whether it keeps others out: one that hangs gives its key up in the end, as it does under a lease.
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
                // A run that has hung for a day may find another one here.
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
