//! Limits how many duplicates wait, in all and for each scope, so that no tenant takes the places of the others.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;

use super::metrics::Waiting;
use crate::record::ScopeId;

/// The places of the waiters, in all and for each scope.
#[derive(Default)]
pub(super) struct WaitingRoom {
    // A plain lock: nothing is awaited under it.
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: Share,
    /// Only of scopes that have waiters, so that the map is as small as the number of places.
    scopes: HashMap<ScopeId, Share>,
}

/// The number of waiters, and the total length of the requests they keep: a waiter that finds the key free still needs
/// its body.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Share {
    places: usize,
    bytes: usize,
}

/// A duplicate that asks for a place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiter {
    /// Two scopes with the same id share their share of places, and nothing else.
    pub(super) scope: ScopeId,
    /// The length of the request that it keeps.
    pub(super) bytes: usize,
}

/// A place. It is free again when this is dropped.
pub(super) struct Place {
    room: Arc<WaitingRoom>,
    waiter: Waiter,
    _counted: Waiting,
}

/// The limit for all waiters.
const ALL: Share = Share {
    places: 1024,
    bytes: 64 << 20,
};

/// The limit for the waiters of one scope.
const OF_ONE_SCOPE: Share = Share {
    places: ALL.places / 4,
    bytes: ALL.bytes / 4,
};

impl WaitingRoom {
    /// Takes a place, if the waiter's scope and the total allow one more.
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
            _counted: Waiting::start(),
        })
    }
}

impl Share {
    /// The sum with one more waiter, if it is within the limit.
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
