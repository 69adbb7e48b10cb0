//! The keys whose transactions run in this process, of which no store knows yet.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;

use crate::{Fingerprint, Polling, RecordId, Subscription, Wakeups};

/// Where duplicates within the process meet.
#[derive(Default)]
pub(super) struct RunningKeys {
    // A plain lock: nothing is awaited under it.
    keys: Mutex<HashMap<RecordId, Key>>,
    wakeups: Wakeups,
}

/// A key that somebody looks at or runs under.
#[derive(Default)]
struct Key {
    visits: usize,
    running: Option<Fingerprint>,
    /// How many runs have ended since it is here. What was seen in the store before the last one is out of date.
    ended: u64,
}

/// One request at its key, from its first look to its end.
pub(super) struct Visit {
    keys: Arc<RunningKeys>,
    id: RecordId,
    ended: u64,
    runs: bool,
}

impl RunningKeys {
    pub(super) fn visit(keys: &Arc<Self>, id: &RecordId) -> Visit {
        keys.keys.lock().entry(*id).or_default().visits += 1;
        Visit {
            keys: Arc::clone(keys),
            id: *id,
            ended: 0,
            runs: false,
        }
    }
}

impl Visit {
    /// What runs under the key now. What is seen in the store after this tells of every run that has ended before it.
    pub(super) fn running(&mut self) -> Option<Fingerprint> {
        let keys = self.keys.keys.lock();
        let key = keys.get(&self.id)?;
        self.ended = key.ended;
        key.running
    }

    /// Takes the key; false if a run has begun or ended since [`running`](Self::running) was asked.
    pub(super) fn run(&mut self, fingerprint: &Fingerprint) -> bool {
        let mut keys = self.keys.keys.lock();
        let Some(key) = keys.get_mut(&self.id) else {
            return false;
        };
        if key.running.is_some() || key.ended != self.ended {
            return false;
        }
        key.running = Some(*fingerprint);
        self.runs = true;
        true
    }

    /// Listens for the key to come free. The second is for a lease that lapses elsewhere; nothing here is missed.
    pub(super) fn subscribe(&self) -> Subscription {
        let polling = Polling::every(Duration::from_secs(1));
        self.keys.wakeups.subscribe(&self.id, polling)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.keys.keys.lock().entry(self.id) {
            let key = entry.get_mut();
            key.visits -= 1;
            if self.runs {
                key.running = None;
                key.ended += 1;
            }
            if key.visits == 0 {
                entry.remove();
            }
        }
        if self.runs {
            self.keys.wakeups.wake(&self.id);
        }
    }
}
