//! The room that records take, and how a step changes it together with the record.

use std::{sync::atomic::Ordering, time::SystemTime};

use bytes::Bytes;

use super::{
    BYTES_PER_RECORD, MemoryStore, PURGED_AT_ONCE,
    shard::{Entry, Shard},
};
use crate::{Hold, Phase, RecordId, StoreError, Token, store::spent::SpentTokens};

impl MemoryStore {
    /// Makes room for a new record, if there is any.
    fn reserve(&self) -> Result<(), StoreError> {
        let reserved = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(BYTES_PER_RECORD)
                    .filter(|&used| used <= self.limit)
            });
        reserved.map(drop).map_err(|_| {
            StoreError::full(format!(
                "its {} bytes are used; they come free as keys expire",
                self.limit
            ))
        })
    }

    /// Gives back the room of an entry. A free key takes none: its entry is gone after a lease, and must not stand in the
    /// way of new keys meanwhile.
    pub(super) fn forget(&self, entry: &Entry) {
        if !entry.is_free() {
            self.used
                .fetch_sub(BYTES_PER_RECORD + entry.left().len(), Ordering::Relaxed);
        }
    }

    /// Counts what a run leaves now in place of what it had left before.
    pub(super) fn recount(&self, entry: &Entry, left: &Bytes) {
        self.used.fetch_add(left.len(), Ordering::Relaxed);
        self.used.fetch_sub(entry.left().len(), Ordering::Relaxed);
    }

    /// Ends a hold with an outcome.
    pub(super) fn keep(
        &self,
        shard: &mut Shard,
        id: &RecordId,
        token: Token,
        outcome: Bytes,
        expires_at: SystemTime,
    ) {
        shard.update(id, expires_at, |entry| {
            self.recount(entry, &outcome);
            entry.token = token;
            entry.is_withdrawn = false;
            entry.spent = SpentTokens::default();
            entry.phase = Phase::Completed { outcome };
        });
        self.wakeups.wake(id);
    }

    /// Frees the key. The entry stays at least until then and says that this token is spent.
    pub(super) fn free(
        &self,
        shard: &mut Shard,
        id: &RecordId,
        token: Token,
        now: SystemTime,
        expires_at: SystemTime,
    ) {
        let Some(entry) = shard.entries.get(id) else {
            return;
        };
        let spent = match entry.token == token {
            true => entry.spent.clone(),
            false => entry.spent_tokens(),
        };
        // What is kept of others is kept for as long as it was to be.
        let expires_at = match spent.is_empty() {
            true => expires_at,
            false => expires_at.max(entry.expires_at),
        };
        shard.update(id, expires_at, |entry| {
            self.forget(entry);
            entry.token = token;
            entry.attempt = 0;
            entry.is_withdrawn = true;
            entry.spent = spent;
            entry.phase = Phase::InFlight {
                lease_until: now,
                progress: Bytes::new(),
            };
        });
        self.wakeups.wake(id);
    }

    /// Keeps what a run has done, unless it has kept more since.
    pub(super) fn keep_progress(&self, shard: &mut Shard, id: &RecordId, progress: Bytes) {
        if let Some(entry) = shard.entries.get_mut(id)
            && progress.len() >= entry.left().len()
        {
            self.recount(entry, &progress);
            if let Phase::InFlight { progress: kept, .. } = &mut entry.phase {
                *kept = progress;
            }
        }
    }

    /// Ends a hold so that the next claim takes it over at once. So many attempts stand.
    pub(super) fn suspend_as(&self, shard: &mut Shard, hold: &Hold, attempt: u32, now: SystemTime) {
        shard.update(&hold.id, super::later(now, hold.ttl), |entry| {
            entry.attempt = attempt;
            entry.is_withdrawn = true;
            if let Phase::InFlight { lease_until, .. } = &mut entry.phase {
                *lease_until = now;
            }
        });
        self.wakeups.wake(&hold.id);
    }

    /// Makes room for a new record, if need be that of records past their time.
    pub(super) fn make_room(&self, shard: &mut Shard, now: SystemTime) -> Result<(), StoreError> {
        let Err(full) = self.reserve() else {
            return Ok(());
        };
        let expired = shard.take_expired(now, PURGED_AT_ONCE);
        if expired.is_empty() {
            return Err(full);
        }
        expired.iter().for_each(|entry| self.forget(entry));
        self.reserve()
    }
}
