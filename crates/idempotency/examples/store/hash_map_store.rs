//! The store: each verb is a method of `Entry`, under one lock.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use idempotency::{Clock, Fingerprint, Store, store::*};
use parking_lot::Mutex;

#[derive(Debug)]
pub(crate) struct HashMapStore {
    entries: Mutex<HashMap<RecordId, Entry>>,
    clock: Clock,
    wakeups: Wakeups,
}

type Done<T> = Result<IfOwner<T>, StoreError>;

impl HashMapStore {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            entries: Mutex::default(),
            clock,
            wakeups: Wakeups::default(),
        }
    }

    /// One atomic step: loads the entry of a key, decides, and saves the entry, all under one lock.
    fn step<T, F>(&self, id: &RecordId, step: F) -> Result<T, StoreError>
    where
        F: FnOnce(&mut Entry, SystemTime) -> Transition<T>,
    {
        let mut entries = self.entries.lock();
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
        let (entries, now) = (self.entries.lock(), self.clock.now());
        Ok(entries.get(id).and_then(|entry| entry.inspect(id, now)))
    }

    async fn list(&self, request: &ListRequest) -> Result<Vec<Listed>, StoreError> {
        let (entries, now) = (self.entries.lock(), self.clock.now());
        let shown = |(id, entry): (&RecordId, &Entry)| entry.inspect(id, now);
        Ok(request.select(entries.iter().filter_map(shown), now))
    }

    async fn purge_expired(&self, limit: usize) -> Result<usize, StoreError> {
        let (mut entries, now) = (self.entries.lock(), self.clock.now());
        let expired = entries.extract_if(|_, entry| entry.is_expired(now));
        Ok(expired.take(limit).count())
    }

    fn subscribe(&self, id: &RecordId) -> Subscription {
        // Waiters also poll, because an owner that has died wakes no waiter.
        let second = Duration::from_secs(1);
        self.wakeups.subscribe(id, Polling::every(second))
    }

    fn outcome_limit(&self) -> usize {
        usize::MAX
    }
}
