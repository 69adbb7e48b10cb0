//! One part of the memory store: the entries by id and by the time at which they may be forgotten.

use std::{
    collections::{
        BTreeSet, HashMap,
        hash_map::Entry::{Occupied, Vacant},
    },
    sync::Arc,
    time::SystemTime,
};

use bytes::Bytes;

use super::scopes::Share;
use crate::{
    record::RecordId,
    store::{Claim, ClaimRequest, Entry, StoreError, keyed_hash::KeyedHash},
};

/// One part of the keys. Its lock is never held over an await, and for only a few entries at a time.
#[derive(Default)]
pub(super) struct Shard {
    // Boxed, because the map is half empty most of the time.
    pub(super) slots: HashMap<RecordId, Box<Slot>, KeyedHash>,
    pub(super) queue: Queue,
}

/// Each entry under a time before which it cannot be forgotten, so that a sweep does not visit the others.
#[derive(Default)]
pub(super) struct Queue(BTreeSet<(Due, RecordId)>);

/// Milliseconds since 1970, in half of the bytes of a [`SystemTime`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due(u64);

/// An entry, and what this store remembers with it.
pub(super) struct Slot {
    pub(super) entry: Entry,
    /// Where the entry is counted; `None` for a free key.
    pub(super) share: Option<Arc<Share>>,
    /// The entry's place in the queue, never later than the entry expires. A claim is queued at the time when the earliest
    /// outcome of its run would expire, so that neither completion nor renewal has to move it.
    queued_at: Due,
}

impl Shard {
    /// Removes up to this many expired entries.
    #[expect(
        clippy::vec_box,
        reason = "the boxes are the map's own, and only they are moved"
    )]
    pub(super) fn take_expired(&mut self, now: SystemTime, limit: usize) -> Vec<Box<Slot>> {
        let mut taken = Vec::new();
        while taken.len() < limit
            && let Some(id) = self.queue.take_due(now)
        {
            match self.slots.entry(id) {
                Occupied(slot) if slot.get().entry.is_expired(now) => taken.push(slot.remove()),
                Occupied(mut slot) => {
                    let slot = slot.get_mut();
                    slot.queued_at = self.queue.add(&id, slot.entry.expires_at());
                }
                Vacant(_) => {}
            }
        }
        taken
    }
}

impl Slot {
    pub(super) const fn new(entry: Entry, queued_at: Due) -> Self {
        Self {
            entry,
            share: None,
            queued_at,
        }
    }

    /// Claims the key. A claim changes nothing that is counted, unless it needs room.
    pub(super) fn claim(
        &mut self,
        request: ClaimRequest<'_>,
        now: SystemTime,
        queue: &mut Queue,
    ) -> Result<Claim, StoreError> {
        let queued_at = &mut self.queued_at;
        self.entry.claim_saving(request, now, |expires_at| {
            requeue(&request.hold.id, queue, queued_at, expires_at);
        })
    }

    /// How many bytes the run has stored.
    pub(super) fn stored(&self) -> usize {
        self.entry.stored().map_or(0, Bytes::len)
    }

    /// Keeps the entry's place in the queue true after a change.
    pub(super) fn requeue(&mut self, id: &RecordId, queue: &mut Queue) {
        requeue(id, queue, &mut self.queued_at, self.entry.expires_at());
    }
}

/// Moves an entry in the queue if it expires before its place. Only another ttl can be as short as that.
fn requeue(id: &RecordId, queue: &mut Queue, queued_at: &mut Due, expires_at: SystemTime) {
    if Due::at(expires_at) < *queued_at {
        queue.0.remove(&(*queued_at, *id));
        *queued_at = queue.add(id, expires_at);
    }
}

impl Queue {
    /// Adds an entry, and returns its place.
    pub(super) fn add(&mut self, id: &RecordId, expires_at: SystemTime) -> Due {
        let due = Due::at(expires_at);
        self.0.insert((due, *id));
        due
    }

    /// Removes the first entry that is due.
    fn take_due(&mut self, now: SystemTime) -> Option<RecordId> {
        let &(due, id) = self.0.first()?;
        if due > Due::before(now) {
            return None;
        }
        self.0.pop_first();
        Some(id)
    }
}

impl Due {
    /// The first millisecond at which something has expired that expires then.
    fn at(time: SystemTime) -> Self {
        Self::with(time, |nanoseconds| nanoseconds.div_ceil(NANOSECONDS))
    }

    /// The last one that has begun.
    fn before(now: SystemTime) -> Self {
        Self::with(now, |nanoseconds| nanoseconds / NANOSECONDS)
    }

    fn with(time: SystemTime, milliseconds: impl Fn(u32) -> u32) -> Self {
        let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH);
        let since_1970 = since_1970.unwrap_or_default();
        let rest = u64::from(milliseconds(since_1970.subsec_nanos()));
        Self(
            since_1970
                .as_secs()
                .saturating_mul(1000)
                .saturating_add(rest),
        )
    }
}

/// Those of a millisecond.
const NANOSECONDS: u32 = 1_000_000;
