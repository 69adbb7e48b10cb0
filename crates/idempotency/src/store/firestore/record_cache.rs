//! What this process remembers of records, so that it asks Firestore less. All of it may be out of date.

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use gcloud_sdk::prost_types::Timestamp;
use parking_lot::Mutex;

use super::{change::Base, document::Found};
use crate::{Phase, RecordId, Token, store::spent::SpentTokens};

/// The records that were met lately, a bounded number of them.
#[derive(Clone, Default)]
pub(super) struct RecordCache(Arc<Mutex<Generations>>);

/// What a record was when it was met.
#[derive(Clone)]
pub(super) enum CachedRecord {
    /// Somebody's hold.
    InFlight {
        token: Token,
        lease_until: SystemTime,
        /// When it is forgotten if nobody renews it.
        expires_at: SystemTime,
        /// The length of its progress.
        kept: usize,
        /// The tokens that are spent beside it.
        spent: SpentTokens,
        update_time: Timestamp,
    },
    /// A free key, whose next claim need not look, unless its token is one of these that are spent.
    Free {
        spent: SpentTokens,
        update_time: Timestamp,
    },
    /// Anything else that is there.
    Other,
}

/// What is not met again until this many others are, and as many again, is forgotten. Four megabytes at most.
const MOST: usize = 8192;

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

    /// Takes note of what is there, or that nothing is.
    pub(super) fn put(&self, id: &RecordId, cached: Option<CachedRecord>) {
        let mut generations = self.0.lock();
        generations.old.remove(id);
        let Some(cached) = cached else {
            generations.new.remove(id);
            return;
        };
        if generations.new.len() >= MOST && !generations.new.contains_key(id) {
            generations.old = std::mem::take(&mut generations.new);
        }
        generations.new.insert(*id, cached);
    }

    /// Takes note of a checkpoint of this length on that base, which has left the owner's lease as it was. Where something else is
    /// remembered than the base, as an older look that was noted meanwhile, that stays, and is found out of date.
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
