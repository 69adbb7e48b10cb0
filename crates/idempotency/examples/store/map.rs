//! The map: each step of a key is taken under one lock, at one time.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, SystemTime},
};

use idempotency::{
    Clock,
    store::{IfOwner, ListRequest, Listed, Polling, Record, RecordId, Subscription, Wakeups},
};

use crate::entry::Entry;

/// How often a waiter looks that nothing has woken: an owner that has died wakes none.
const POLLING: Polling = Polling::every(Duration::from_secs(1));

#[derive(Debug)]
pub(crate) struct HashMapStore {
    entries: Mutex<HashMap<RecordId, Entry>>,
    clock: Clock,
    wakeups: Wakeups,
}

impl HashMapStore {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            entries: Mutex::default(),
            clock,
            wakeups: Wakeups::default(),
        }
    }

    /// Takes a step of one key. An entry that has expired is absent, swept or not.
    pub(crate) fn step<T>(
        &self,
        id: &RecordId,
        step: impl FnOnce(&mut Entry, SystemTime) -> T,
    ) -> T {
        let mut entries = self.entries.lock().expect("no step panics");
        let now = self.clock.now();
        let living = entries.remove(id).filter(|entry| entry.ends > now);
        let mut entry = living.unwrap_or_else(|| Entry::absent(now));
        let done = step(&mut entry, now);
        if entry.ends > now {
            entries.insert(*id, entry);
        }
        done
    }

    /// Takes a step that ends a hold, and wakes those who wait for that end. A refused step wakes none.
    pub(crate) fn end<T>(
        &self,
        id: &RecordId,
        step: impl FnOnce(&mut Entry, SystemTime) -> IfOwner<T>,
    ) -> IfOwner<T> {
        let done = self.step(id, step);
        if matches!(done, IfOwner::Done(_)) {
            self.wakeups.wake(id);
        }
        done
    }

    /// The records that have not expired and are asked for, in the order of their ids.
    pub(crate) fn listed(&self, request: &ListRequest) -> Vec<Listed> {
        let now = self.clock.now();
        let entries = self.entries.lock().expect("no step panics");
        let living = entries.values().filter(|entry| entry.ends > now);
        let mut records: Vec<Record> = living
            .filter_map(Entry::shown)
            .filter(|record| request.after.is_none_or(|after| record.id > after))
            .filter(|record| request.matches(record, now))
            .collect();
        records.sort_unstable_by_key(|record| record.id);
        records.truncate(request.limit);
        records.into_iter().map(Listed::from).collect()
    }

    pub(crate) fn purged(&self, limit: usize) -> usize {
        let now = self.clock.now();
        let mut entries = self.entries.lock().expect("no step panics");
        let expired = entries.extract_if(|_, entry| entry.ends <= now);
        expired.take(limit).count()
    }

    pub(crate) fn waiter(&self, id: &RecordId) -> Subscription {
        self.wakeups.subscribe(id, POLLING)
    }
}
