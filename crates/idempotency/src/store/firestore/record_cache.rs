//! What this process remembers of records, to make fewer calls to Firestore. All of it may be out of date.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use gcloud_sdk::prost_types::Timestamp;
use parking_lot::Mutex;

use super::{change::Base, document::Found};
use crate::{
    record::{Phase, RecordId, Token},
    store::spent::SpentTokens,
};

/// The records that were met lately, up to a fixed number.
#[derive(Clone, Default)]
pub(super) struct RecordCache(Arc<Mutex<Generations>>);

/// What a record was when it was met.
#[derive(Clone)]
pub(super) enum CachedRecord {
    /// A run's hold.
    InFlight {
        token: Token,
        lease_until: SystemTime,
        /// When it expires unless it is renewed.
        expires_at: SystemTime,
        /// The length of its progress.
        kept: usize,
        /// The spent tokens next to it.
        spent: SpentTokens,
        update_time: Timestamp,
    },
    /// A free key. Its next claim need not read, unless its token is among these spent ones.
    Free {
        spent: SpentTokens,
        update_time: Timestamp,
    },
    /// Any other existing document.
    Other,
}

/// A record that is not met again while this many others are, and as many again, is forgotten. Four megabytes at most.
const MAX_RECORDS: usize = 8192;

#[derive(Default)]
struct Generations {
    new: HashMap<RecordId, CachedRecord>,
    old: HashMap<RecordId, CachedRecord>,
}

impl RecordCache {
    pub(super) fn get(&self, id: &RecordId) -> Option<CachedRecord> {
        let generations = self.0.lock();
        let cached = generations.new.get(id).or_else(|| generations.old.get(id));
        cached.cloned()
    }

    /// Notes what exists, or that nothing does.
    pub(super) fn put(&self, id: &RecordId, cached: Option<CachedRecord>) {
        let mut generations = self.0.lock();
        generations.old.remove(id);
        let Some(cached) = cached else {
            generations.new.remove(id);
            return;
        };
        if generations.new.len() >= MAX_RECORDS && !generations.new.contains_key(id) {
            generations.old = std::mem::take(&mut generations.new);
        }
        generations.new.insert(*id, cached);
    }

    /// Notes a checkpoint of this length on that base, which left the owner's lease unchanged. If something else than
    /// the base is remembered, such as an older read that was noted meanwhile, that stays, and turns out to be
    /// outdated.
    pub(super) fn touch(
        &self,
        id: &RecordId,
        owner: &Token,
        kept: usize,
        base: Base,
        update_time: Timestamp,
    ) {
        if let Some(CachedRecord::InFlight {
            token,
            lease_until,
            expires_at,
            spent,
            update_time: seen,
            ..
        }) = self.get(id)
            && token == *owner
            && base == Base::UpdatedAt(seen)
        {
            let cached = CachedRecord::InFlight {
                token,
                lease_until,
                expires_at,
                kept,
                spent,
                update_time,
            };
            self.put(id, Some(cached));
        }
    }
}

impl From<&Found> for CachedRecord {
    fn from(found: &Found) -> Self {
        let update_time = found.update_time;
        match found.record.phase {
            _ if found.is_free() => Self::Free {
                spent: found.spent_tokens(),
                update_time,
            },
            Phase::InFlight { lease_until, .. } if !found.is_withdrawn => Self::InFlight {
                token: found.record.token,
                lease_until,
                expires_at: found.record.expires_at,
                kept: found.progress().len(),
                spent: found.spent.clone(),
                update_time,
            },
            Phase::InFlight { .. } | Phase::Completed { .. } => Self::Other,
        }
    }
}
