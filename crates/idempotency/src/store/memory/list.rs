//! Listing records, for operators.

use super::MemoryStore;
use crate::store::{ListRequest, Listed};

impl MemoryStore {
    pub(super) fn listed(&self, request: &ListRequest) -> Vec<Listed> {
        let (after, limit) = (request.after.as_ref(), request.limit);
        let now = self.clock.now();
        let first = after.map_or(0, |id| usize::from(id.as_bytes()[0]));
        let mut listed = Vec::new();
        for shard in &self.shards[first..] {
            if listed.len() >= limit {
                break;
            }
            let shard = shard.lock();
            let mut ids: Vec<_> = shard
                .slots()
                .filter(|slot| after.is_none_or(|after| slot.id > *after))
                .filter(|slot| {
                    let record = slot.entry.inspect(&slot.id, now);
                    record.is_some_and(|record| request.matches(&record, now))
                })
                .map(|slot| slot.id)
                .collect();
            ids.sort_unstable();
            ids.truncate(limit - listed.len());
            listed.extend(
                ids.into_iter()
                    .filter_map(|id| Some(shard.get(&id)?.entry.inspect(&id, now)?.into())),
            );
        }
        listed
    }
}
