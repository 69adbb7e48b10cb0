//! The room that records take, and how a step changes it together with the record.

use std::{
    sync::{Arc, atomic::Ordering},
    time::SystemTime,
};

use super::{
    MemoryStore, PURGED_AT_ONCE,
    scopes::Share,
    shard::{Shard, Slot},
};
use crate::{
    record::ScopeId,
    store::{
        StoreError,
        share::{BYTES_PER_RECORD, admit},
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

    /// Frees the room of an entry.
    pub(super) fn forget(&self, slot: &Slot) {
        if let Some(share) = &slot.share {
            self.give_back(share, slot.stored());
        }
    }

    /// Counts what an entry stores now, in place of the bytes that it stored before. That of a free key counts for nothing: it is gone
    /// after a lease, and must not keep out new keys meanwhile.
    pub(super) fn recount(&self, slot: &mut Slot, before: usize) {
        let Some(stored) = slot.entry.stored() else {
            if let Some(share) = slot.share.take() {
                self.give_back(&share, before);
            }
            return;
        };
        self.used.fetch_add(stored.len(), Ordering::Relaxed);
        self.used.fetch_sub(before, Ordering::Relaxed);
        if let Some(share) = &slot.share {
            share.replace(before, stored.len());
        }
    }

    /// Frees the room of a record that stored this many bytes.
    pub(super) fn give_back(&self, share: &Share, stored: usize) {
        let bytes = BYTES_PER_RECORD + stored;
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        self.scopes.give_back(share, bytes);
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
        expired.iter().for_each(|slot| self.forget(slot));
        self.reserve(scope)
    }
}
