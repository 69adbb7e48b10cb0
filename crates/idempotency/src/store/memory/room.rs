//! The room that records take, and how a step changes it together with the record.

use std::{
    sync::{Arc, atomic::Ordering},
    time::SystemTime,
};

use bytes::Bytes;

use super::{
    MemoryStore, PURGED_AT_ONCE,
    scopes::Share,
    shard::{Entry, Shard},
};
use crate::{
    StoreError,
    labels::Labels,
    record::{Phase, RecordId, ScopeId, Token},
    store::{
        Hold,
        share::{BYTES_PER_RECORD, admit},
        spent::SpentTokens,
    },
};

impl MemoryStore {
    /// Reserves room for a new record, if there is any.
    fn reserve(&self, scope: &ScopeId) -> Result<Arc<Share>, StoreError> {
        self.scopes.reserve(*scope, BYTES_PER_RECORD, |own| {
            let mut used = self.used.load(Ordering::Relaxed);
            loop {
                let then = admit(scope, own, used, self.limit)?;
                let (done, meanwhile) = (Ordering::Relaxed, Ordering::Relaxed);
                match self.used.compare_exchange_weak(used, then, done, meanwhile) {
                    Ok(_) => return Ok(()),
                    Err(changed) => used = changed,
                }
            }
        })
    }

    /// Frees the room of an entry. The entry of a free key counts for nothing: it is gone after a lease, and must not
    /// keep out new keys meanwhile.
    pub(super) fn forget(&self, entry: &Entry) {
        if let Some(share) = &entry.share {
            let bytes = BYTES_PER_RECORD + entry.left().len();
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            self.scopes.give_back(share, bytes);
        }
    }

    /// Counts what a run stores now in place of what it stored before.
    pub(super) fn recount(&self, entry: &Entry, left: &Bytes) {
        self.used.fetch_add(left.len(), Ordering::Relaxed);
        self.used.fetch_sub(entry.left().len(), Ordering::Relaxed);
        if let Some(share) = &entry.share {
            share.replace(entry.left().len(), left.len());
        }
    }

    /// Ends a hold with an outcome.
    pub(super) fn keep(
        &self,
        shard: &mut Shard,
        id: &RecordId,
        token: Token,
        outcome: Bytes,
        now: SystemTime,
        expires_at: SystemTime,
    ) {
        shard.update(id, expires_at, |entry| {
            self.recount(entry, &outcome);
            entry.completed_at = Some(now);
            entry.token = token;
            entry.is_withdrawn = false;
            entry.spent = SpentTokens::default();
            entry.phase = Phase::Completed { outcome };
        });
        self.wakeups.wake(id);
    }

    /// Frees the key. The entry records at least until then that this token is spent.
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
        let spent = if entry.token == token {
            entry.spent.clone()
        } else {
            entry.spent_tokens()
        };
        // Other spent tokens are remembered for as long as before.
        let expires_at = if spent.is_empty() {
            expires_at
        } else {
            expires_at.max(entry.expires_at)
        };
        shard.update(id, expires_at, |entry| {
            self.forget(entry);
            entry.share = None;
            entry.token = token;
            entry.attempt = 0;
            entry.is_withdrawn = true;
            entry.spent = spent;
            entry.completed_at = None;
            entry.labels = Labels::default();
            entry.phase = Phase::InFlight {
                lease_until: now,
                progress: Bytes::new(),
            };
        });
        self.wakeups.wake(id);
    }

    /// Stores a run's progress, unless the stored progress is longer.
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

    /// Ends a hold so that the next claim takes over at once. The entry counts this many attempts.
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

    /// Reserves room for a new record of this scope, if necessary by removing expired records.
    pub(super) fn make_room(
        &self,
        shard: &mut Shard,
        scope: &ScopeId,
        now: SystemTime,
    ) -> Result<Arc<Share>, StoreError> {
        let full = match self.reserve(scope) {
            Ok(share) => return Ok(share),
            Err(full) => full,
        };
        let expired = shard.take_expired(now, PURGED_AT_ONCE);
        if expired.is_empty() {
            return Err(full);
        }
        expired.iter().for_each(|entry| self.forget(entry));
        self.reserve(scope)
    }
}
