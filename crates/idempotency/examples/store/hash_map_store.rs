//! The store: each verb is a method of `Entry`, under one lock.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use idempotency::{
    Clock, Fingerprint, Store, StoreError,
    store::{
        Change, Claim, ClaimRequest, Entry, Hold, IfOwner, ListRequest, Listed, Polling, Record,
        RecordId, Resolution, Subscription, Token, Transition, Wakeups,
    },
};

#[derive(Debug)]
pub(crate) struct HashMapStore {
    entries: Mutex<HashMap<RecordId, Entry>>,
    clock: Clock,
    wakeups: Wakeups,
}

type Done<T> = Result<IfOwner<T>, StoreError>;

impl HashMapStore {
    pub(crate) fn new(clock: Clock) -> Self {
        let (entries, wakeups) = (Mutex::default(), Wakeups::default());
        Self {
            entries,
            clock,
            wakeups,
        }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<RecordId, Entry>> {
        self.entries.lock().expect("no step panics")
    }

    /// Takes a step of one key: loads its entry, decides, and saves the entry, under one lock.
    fn step<T>(
        &self,
        id: &RecordId,
        step: impl FnOnce(&mut Entry, SystemTime) -> Transition<T>,
    ) -> Result<T, StoreError> {
        let mut entries = self.entries();
        let mut entry = entries.get(id).cloned().unwrap_or_default();
        let Transition { reply, change, .. } = step(&mut entry, self.clock.now());
        if change != Change::Unchanged {
            entries.insert(*id, entry);
        }
        if change == Change::Ended {
            self.wakeups.wake(id);
        }
        Ok(reply)
    }
}

#[async_trait]
impl Store for HashMapStore {
    fn name(&self) -> &'static str {
        "hash-map"
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        self.step(&request.hold.id, |entry, now| entry.claim(request, now))?
    }

    async fn withdraw(&self, hold: &Hold, _: &Fingerprint) -> Result<(), StoreError> {
        self.step(&hold.id, |entry, now| entry.withdraw(hold, now))
    }

    async fn renew(&self, hold: &Hold) -> Done<()> {
        self.step(&hold.id, |entry, now| entry.renew(hold, now))
    }

    async fn checkpoint(&self, hold: &Hold, steps: Bytes) -> Done<()> {
        self.step(&hold.id, |entry, now| entry.checkpoint(hold, steps, now))
    }

    async fn suspend(&self, hold: &Hold, steps: Bytes) -> Done<()> {
        self.step(&hold.id, |entry, now| entry.suspend(hold, steps, now))
    }

    async fn complete(&self, hold: &Hold, outcome: Bytes) -> Done<SystemTime> {
        self.step(&hold.id, |entry, now| entry.complete(hold, outcome, now))
    }

    async fn release(&self, hold: &Hold) -> Done<()> {
        self.step(&hold.id, |entry, now| entry.release(hold, now))
    }

    async fn resolve(&self, id: &RecordId, seen: &Token, how: Resolution) -> Done<()> {
        let fresh = Token::random();
        self.step(id, |entry, now| entry.resolve(seen, how, fresh, now))
    }

    async fn inspect(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        let (entries, now) = (self.entries(), self.clock.now());
        Ok(entries.get(id).and_then(|entry| entry.inspect(id, now)))
    }

    async fn list(&self, request: &ListRequest) -> Result<Vec<Listed>, StoreError> {
        let (entries, now) = (self.entries(), self.clock.now());
        let records = entries
            .iter()
            .filter_map(|(id, entry)| entry.inspect(id, now));
        Ok(request.select(records, now))
    }

    async fn purge_expired(&self, limit: usize) -> Result<usize, StoreError> {
        let (mut entries, now) = (self.entries(), self.clock.now());
        let expired = entries.extract_if(|_, entry| entry.is_expired(now));
        Ok(expired.take(limit).count())
    }

    fn subscribe(&self, id: &RecordId) -> Subscription {
        // An owner that has died wakes none of those who wait.
        let polling = Polling::every(Duration::from_secs(1));
        self.wakeups.subscribe(id, polling)
    }

    fn outcome_limit(&self) -> usize {
        usize::MAX
    }
}
