//! The steps of one key: each is a method of [`Entry`] under the lock of the key's shard.

use std::time::SystemTime;

use super::{MemoryStore, queue::Queue, shard::Slot};
use crate::{
    Fingerprint,
    record::RecordId,
    store::{
        Change, Claim, ClaimRequest, Entry, Hold, OnLost, StoreError, Transition, entry::Moment,
    },
};

impl MemoryStore {
    /// Takes a step that makes no record of a free key.
    pub(super) fn step<T>(
        &self,
        id: &RecordId,
        step: impl FnOnce(&mut Entry, SystemTime) -> Transition<T>,
    ) -> T {
        let mut shard = self.shard(id);
        let now = self.clock.now();
        let hash = shard.hash_of(id);
        if let Some((slot, queue)) = shard.get_mut(id, hash) {
            let before = slot.stored();
            let done = step(&mut slot.entry, now);
            self.account_for(hash, slot, queue, before, done.change);
            return done.reply;
        }
        let mut entry = Entry::default();
        let done = step(&mut entry, now);
        if done.change != Change::Unchanged {
            let expiry = entry.expiry();
            shard.insert(id, hash, entry, expiry);
        }
        done.reply
    }

    /// Takes the step of a claim, for which it reserves room if it makes a record of a free key.
    // Not inlined, so that the reply is made where its caller returns it. Copying a reply would cost more than this call.
    #[inline(never)]
    pub(super) fn claimed(
        &self,
        hold: &Hold,
        fingerprint: &Fingerprint,
        on_lost: OnLost,
    ) -> Result<Claim, StoreError> {
        let request = ClaimRequest::new(hold, fingerprint, on_lost);
        let id = &hold.id;
        let mut shard = self.shard(id);
        let now = self.clock.now();
        let hash = shard.hash_of(id);
        let was_there = match shard.get_mut(id, hash) {
            Some((slot, queue)) if !slot.entry.needs_room(request, now) => {
                return slot.claim(request, now.into(), hash, queue);
            }
            found => found.is_some(),
        };
        let share = self.make_room(&mut shard, &hold.scope, now)?;
        let moment = Moment::from(now);
        // It may have been among the expired ones that made room.
        let (slot, queue) = if was_there && shard.get(id).is_some() {
            shard.get_mut(id, hash).expect("it is there")
        } else {
            shard.insert(id, hash, Entry::default(), moment.after(hold.ttl))
        };
        // A record that has expired here takes no room any more.
        let expired = slot.stored();
        if let Some(counted) = slot.share.replace(share) {
            self.give_back(&counted, expired);
        }
        slot.claim(request, moment, hash, queue)
    }

    /// Counts what a step has changed, and wakes those who wait for it.
    fn account_for(
        &self,
        hash: u64,
        slot: &mut Slot,
        queue: &mut Queue,
        before: usize,
        change: Change,
    ) {
        if change != Change::Unchanged {
            self.recount(slot, before);
            slot.requeue(hash, queue);
        }
        if change == Change::Ended {
            self.wakeups.wake(&slot.id);
        }
    }
}
