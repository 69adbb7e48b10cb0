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
    record::RecordId,
    store::{Change, Claim, ClaimRequest, Entry, StoreError, Transition, entry::later},
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
            return self.change(slot, &mut shard.queue, id, |entry| step(entry, now));
        }
        let mut entry = Entry::default();
        let Transition { reply, change } = step(&mut entry, now);
        if change != Change::Unchanged {
            let queued_at = entry.expires_at();
            shard.queue.insert((queued_at, *id));
            let slot = Slot {
                entry,
                share: None,
                queued_at,
            };
            shard.slots.insert(*id, Box::new(slot));
        }
        reply
    }

    pub(super) fn claimed(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        let hold = request.hold;
        let mut shard = self.shard(&hold.id);
        let shard = &mut *shard;
        let now = self.clock.now();
        if let Some(slot) = shard.slots.get_mut(&hold.id)
            && !slot.entry.needs_room(request, now)
        {
            return self.change(slot, &mut shard.queue, &hold.id, |entry| {
                entry.claim(request, now)
            });
        }
        let share = self.make_room(shard, &hold.scope, now)?;
        match shard.slots.entry(hold.id) {
            Occupied(mut slot) => {
                let slot = slot.get_mut();
                let claimed = self.change(slot, &mut shard.queue, &hold.id, |entry| {
                    entry.claim(request, now)
                });
                // The record that has expired here takes no room any more.
                if let Some(expired) = slot.share.replace(share) {
                    self.give_back(&expired, slot.stored());
                }
                claimed
            }
            Vacant(free) => {
                let mut entry = Entry::default();
                let claimed = entry.claim(request, now);
                let queued_at = later(now, hold.ttl);
                shard.queue.insert((queued_at, hold.id));
                free.insert(Box::new(Slot {
                    entry,
                    share: Some(share),
                    queued_at,
                }));
                claimed.reply
            }
        }
    }

    /// Takes a step of an entry, counts what it changes, and wakes those who wait for it.
    fn change<T>(
        &self,
        slot: &mut Slot,
        queue: &mut Queue,
        id: &RecordId,
        step: impl FnOnce(&mut Entry) -> Transition<T>,
    ) -> T {
        let before = slot.stored();
        let Transition { reply, change } = step(&mut slot.entry);
        if change != Change::Unchanged {
            self.recount(slot, before);
            slot.requeue(id, queue);
        }
        if change == Change::Ended {
            self.wakeups.wake(id);
        }
        reply
    }
}
