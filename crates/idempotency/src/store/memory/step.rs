//! The steps of one key: each is a method of [`Entry`] under the lock of the key's shard.

use std::{
    collections::hash_map::Entry::{Occupied, Vacant},
    time::SystemTime,
};

use super::{
    MemoryStore,
    shard::{Queue, Slot},
};
use crate::{
    Fingerprint,
    record::RecordId,
    store::{
        Change, Claim, ClaimRequest, Entry, Hold, OnLost, StoreError, Transition, entry::later,
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
        let shard = &mut *shard;
        let now = self.clock.now();
        if let Some(slot) = shard.slots.get_mut(id) {
            let before = slot.stored();
            let done = step(&mut slot.entry, now);
            self.account_for(id, slot, &mut shard.queue, before, done.change);
            return done.reply;
        }
        let mut entry = Entry::default();
        let done = step(&mut entry, now);
        if done.change != Change::Unchanged {
            let queued_at = shard.queue.add(id, entry.expires_at());
            let slot = Slot::new(entry, queued_at);
            shard.slots.insert(*id, Box::new(slot));
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
        let shard = &mut *shard;
        let now = self.clock.now();
        if let Some(slot) = shard.slots.get_mut(id)
            && !slot.entry.needs_room(request, now)
        {
            return slot.claim(request, now, &mut shard.queue);
        }
        let share = self.make_room(shard, &hold.scope, now)?;
        let slot = match shard.slots.entry(*id) {
            Occupied(slot) => slot.into_mut(),
            Vacant(free) => {
                let queued_at = shard.queue.add(id, later(now, hold.ttl));
                free.insert(Box::new(Slot::new(Entry::default(), queued_at)))
            }
        };
        // A record that has expired here takes no room any more.
        let expired = slot.stored();
        if let Some(counted) = slot.share.replace(share) {
            self.give_back(&counted, expired);
        }
        slot.claim(request, now, &mut shard.queue)
    }

    /// Counts what a step has changed, and wakes those who wait for it.
    fn account_for(
        &self,
        id: &RecordId,
        slot: &mut Slot,
        queue: &mut Queue,
        before: usize,
        change: Change,
    ) {
        if change != Change::Unchanged {
            self.recount(slot, before);
            slot.requeue(id, queue);
        }
        if change == Change::Ended {
            self.wakeups.wake(id);
        }
    }
}
