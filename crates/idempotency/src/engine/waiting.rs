//! How many duplicates wait, and for whom: no tenant takes the places of the others.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;

/// The places of those who wait, in all and for each scope.
#[derive(Default)]
pub(super) struct WaitingRoom {
    // A plain lock: nothing is awaited under it.
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: Share,
    /// Only of scopes that have waiters, so that the map is as small as the number of places.
    scopes: HashMap<u64, Share>,
}

/// How many wait, and how long the requests are that they keep: whoever finds the key free still needs its body.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Share {
    places: usize,
    bytes: usize,
}

/// Who wants to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiter {
    /// A hash of its scope, keyed by chance. Two scopes that share one also share a share, and nothing else.
    pub(super) scope: u64,
    /// How long the request is that it keeps.
    pub(super) bytes: usize,
}

/// A place; it is free again when this is dropped.
pub(super) struct Place {
    room: Arc<WaitingRoom>,
    waiter: Waiter,
}

/// What all waiters may take.
const ALL: Share = Share {
    places: 1024,
    bytes: 64 << 20,
};

/// What the waiters of one scope may take.
const OF_ONE_SCOPE: Share = Share {
    places: ALL.places / 4,
    bytes: ALL.bytes / 4,
};

impl WaitingRoom {
    /// A place, if the waiter's scope has one left, and all of them together.
    pub(super) fn enter(room: &Arc<Self>, waiter: Waiter) -> Option<Place> {
        let mut taken = room.taken.lock();
        let all = taken.all.with(waiter.bytes, ALL)?;
        let share = taken.scopes.get(&waiter.scope).copied().unwrap_or_default();
        let share = share.with(waiter.bytes, OF_ONE_SCOPE)?;
        taken.all = all;
        taken.scopes.insert(waiter.scope, share);
        drop(taken);
        Some(Place {
            room: Arc::clone(room),
            waiter,
        })
    }
}

impl Share {
    /// With one more waiter, if that is not too much.
    fn with(self, bytes: usize, most: Self) -> Option<Self> {
        let more = Self {
            places: self.places + 1,
            bytes: self.bytes.saturating_add(bytes),
        };
        (more.places <= most.places && more.bytes <= most.bytes).then_some(more)
    }

    fn without(self, bytes: usize) -> Self {
        Self {
            places: self.places - 1,
            bytes: self.bytes - bytes,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Waiter { scope, bytes } = self.waiter;
        let mut taken = self.room.taken.lock();
        taken.all = taken.all.without(bytes);
        if let Some(share) = taken.scopes.get_mut(&scope) {
            *share = share.without(bytes);
            if *share == Share::default() {
                taken.scopes.remove(&scope);
            }
        }
    }
}
