//! One part of the memory store: the entries by id and by the time at which they may be forgotten.

use std::{hash::BuildHasher, sync::Arc, time::SystemTime};

use bytes::Bytes;
use hashbrown::HashTable;

use super::{queue::Queue, scopes::Share};
use crate::{
    record::RecordId,
    store::{Claim, ClaimRequest, Entry, StoreError, entry::Moment, keyed_hash::KeyedHash},
};

/// One part of the keys. Its lock is never held over an await, and for only a few entries at a time.
#[derive(Default)]
pub(super) struct Shard {
    places: HashTable<Place>,
    hash: KeyedHash,
    pub(super) queue: Queue,
}

/// Where a key is in the table.
struct Place {
    /// That of the id, so that a table that grows does not visit its entries.
    hash: u64,
    // Boxed, because the table is half empty most of the time.
    slot: Box<Slot>,
}

/// An entry, and what this store remembers with it.
pub(super) struct Slot {
    pub(super) id: RecordId,
    pub(super) entry: Entry,
    /// Where the entry is counted; `None` for a free key.
    pub(super) share: Option<Arc<Share>>,
    /// The entry's place in the queue, never later than the entry expires. A claim is queued at the time when the earliest
    /// outcome of its run would expire, so that neither completion nor renewal has to move it.
    queued_at: Moment,
}

impl Shard {
    pub(super) fn hash_of(&self, id: &RecordId) -> u64 {
        self.hash.hash_one(id)
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.places.iter().map(|place| &*place.slot)
    }

    pub(super) fn get(&self, id: &RecordId) -> Option<&Slot> {
        let place = self
            .places
            .find(self.hash_of(id), |place| place.slot.id == *id);
        place.map(|place| &*place.slot)
    }

    /// The slot of the id with this hash, and the queue.
    pub(super) fn get_mut(&mut self, id: &RecordId, hash: u64) -> Option<(&mut Slot, &mut Queue)> {
        let place = self.places.find_mut(hash, |place| place.slot.id == *id);
        place.map(|place| (&mut *place.slot, &mut self.queue))
    }

    /// Adds an entry that is not there.
    pub(super) fn insert(
        &mut self,
        id: &RecordId,
        hash: u64,
        entry: Entry,
        queued_at: Moment,
    ) -> (&mut Slot, &mut Queue) {
        self.queue.add(queued_at, hash);
        let slot = Box::new(Slot {
            id: *id,
            entry,
            share: None,
            queued_at,
        });
        let place = Place { hash, slot };
        let place = self.places.insert_unique(hash, place, |place| place.hash);
        (&mut *place.into_mut().slot, &mut self.queue)
    }

    /// Removes up to this many expired entries.
    #[expect(
        clippy::vec_box,
        reason = "the boxes are the table's own, and only they are moved"
    )]
    pub(super) fn take_expired(&mut self, now: SystemTime, limit: usize) -> Vec<Box<Slot>> {
        let now = Moment::from(now);
        let mut taken = Vec::new();
        while taken.len() < limit
            && let Some((due, hash)) = self.queue.take_due(now)
        {
            let is_due = |place: &Place| place.hash == hash && place.slot.queued_at == due;
            let Ok(mut place) = self.places.find_entry(hash, is_due) else {
                continue;
            };
            let slot = &mut place.get_mut().slot;
            if slot.entry.has_expired(now) {
                taken.push(place.remove().0.slot);
            } else {
                slot.queued_at = slot.entry.expiry();
                self.queue.add(slot.queued_at, hash);
            }
        }
        taken
    }
}

impl Slot {
    /// Claims the key. A claim changes nothing that is counted, unless it needs room.
    pub(super) fn claim(
        &mut self,
        request: ClaimRequest<'_>,
        now: Moment,
        hash: u64,
        queue: &mut Queue,
    ) -> Result<Claim, StoreError> {
        let queued_at = &mut self.queued_at;
        self.entry.claim_saving(request, now, |expires_at| {
            requeue(hash, queue, queued_at, expires_at);
        })
    }

    /// How many bytes the run has stored.
    pub(super) fn stored(&self) -> usize {
        self.entry.stored().map_or(0, Bytes::len)
    }

    /// Keeps the entry's place in the queue true after a change.
    pub(super) fn requeue(&mut self, hash: u64, queue: &mut Queue) {
        requeue(hash, queue, &mut self.queued_at, self.entry.expiry());
    }
}

/// Moves an entry in the queue if it expires before its place, as after a release or under a shorter ttl.
fn requeue(hash: u64, queue: &mut Queue, queued_at: &mut Moment, expires_at: Moment) {
    if expires_at < *queued_at {
        queue.remove(*queued_at, hash);
        *queued_at = expires_at;
        queue.add(expires_at, hash);
    }
}
