//! How much the records of each scope take, counted exactly.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::RwLock;

use crate::{
    record::ScopeId,
    store::{StoreError, keyed_hash::KeyedHash},
};

/// The scopes that have records, in parts, so that callers of different scopes seldom contend for a lock.
pub(super) struct Scopes([RwLock<Counts>; PARTS]);

type Counts = HashMap<ScopeId, Arc<Share>, KeyedHash>;

/// How much the records of one scope take.
pub(super) struct Share {
    scope: ScopeId,
    bytes: AtomicUsize,
}

/// Ids are digests, so their first byte spreads them evenly.
const PARTS: usize = 256;

impl Default for Scopes {
    fn default() -> Self {
        Self(std::array::from_fn(|_| RwLock::default()))
    }
}

impl Scopes {
    /// Counts this many bytes for the scope, if its current count may be increased.
    ///
    /// A count reaches zero only under the lock, so that no other thread meanwhile takes the scope for one without
    /// records.
    pub(super) fn reserve(
        &self,
        scope: ScopeId,
        bytes: usize,
        may_have: impl Fn(usize) -> Result<(), StoreError>,
    ) -> Result<Arc<Share>, StoreError> {
        let part = self.part(&scope);
        if let Some(share) = part.read().get(&scope) {
            may_have(share.bytes.load(Ordering::Relaxed))?;
            share.add(bytes);
            return Ok(Arc::clone(share));
        }
        let mut counts = part.write();
        let own = counts
            .get(&scope)
            .map_or(0, |share| share.bytes.load(Ordering::Relaxed));
        may_have(own)?;
        let share = counts.entry(scope).or_insert_with(|| {
            let bytes = AtomicUsize::new(0);
            Arc::new(Share { scope, bytes })
        });
        share.add(bytes);
        Ok(Arc::clone(share))
    }

    /// Subtracts what was counted for one record, and forgets a scope without records.
    pub(super) fn give_back(&self, share: &Share, bytes: usize) {
        if share.bytes.fetch_sub(bytes, Ordering::Relaxed) > bytes {
            return;
        }
        let mut counts = self.part(&share.scope).write();
        let kept = counts.get(&share.scope);
        if kept.is_some_and(|share| share.bytes.load(Ordering::Relaxed) == 0) {
            counts.remove(&share.scope);
        }
    }

    pub(super) fn bytes(&self, scope: &ScopeId) -> usize {
        let counts = self.part(scope).read();
        counts
            .get(scope)
            .map_or(0, |share| share.bytes.load(Ordering::Relaxed))
    }

    fn part(&self, scope: &ScopeId) -> &RwLock<Counts> {
        &self.0[usize::from(scope.as_bytes()[0])]
    }
}

impl Share {
    fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts these bytes of a record in place of its earlier ones.
    pub(super) fn replace(&self, before: usize, bytes: usize) {
        self.add(bytes);
        self.bytes.fetch_sub(before, Ordering::Relaxed);
    }
}
