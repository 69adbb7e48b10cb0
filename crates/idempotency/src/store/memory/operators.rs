//! Listing and resolving records, for operators.

use super::{MemoryStore, later};
use crate::{
    labels::Labels,
    record::{Phase, RecordId, Token},
    store::{IfOwner, ListRequest, Listed, Resolution, SPENT_FOR},
};

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
                .entries
                .iter()
                .filter(|(id, entry)| {
                    entry.expires_at > now
                        && !entry.is_free()
                        && after.is_none_or(|after| *id > after)
                        && request.matches(&entry.record(**id), now)
                })
                .map(|(id, _)| *id)
                .collect();
            ids.sort_unstable();
            ids.truncate(limit - listed.len());
            listed.extend(
                ids.into_iter()
                    .filter_map(|id| Some(shard.entries.get(&id)?.record(id).into())),
            );
        }
        listed
    }

    /// Ends a hold, or changes the outcome of a completed run, if the record is still the one that the operator has
    /// seen.
    pub(super) fn resolved(
        &self,
        id: &RecordId,
        seen: &Token,
        resolution: Resolution,
    ) -> IfOwner<()> {
        let mut shard = self.shard(id);
        let now = self.clock.now();
        let found = shard.living(id, now);
        let Some(entry) = found.filter(|entry| entry.token == *seen && !entry.is_free()) else {
            return IfOwner::NotOwner;
        };
        let wants_completed = matches!(
            resolution,
            Resolution::Replace { .. } | Resolution::Erase { .. } | Resolution::Forget
        );
        // A withdrawn take-over is a hold too: the previous run is as lost as before.
        if entry.is_in_flight() == wants_completed {
            return IfOwner::NotOwner;
        }
        let expires_at = entry.expires_at;
        match resolution {
            Resolution::Replace { outcome } => shard.update(id, expires_at, |entry| {
                self.recount(entry, &outcome);
                entry.phase = Phase::Completed { outcome };
            }),
            Resolution::Erase { outcome } => shard.update(id, expires_at, |entry| {
                self.recount(entry, &outcome);
                entry.phase = Phase::Completed { outcome };
                entry.labels = Labels::new(entry.labels.route(), None);
            }),
            // The mark stays: a claim or a completion of the run may be on its way yet.
            Resolution::Release | Resolution::Forget => {
                self.free(&mut shard, id, *seen, now, later(now, SPENT_FOR));
            }
            // A new token: the owner that was given up can complete nothing any more, not even "again".
            Resolution::Complete { outcome, ttl } => {
                self.keep(
                    &mut shard,
                    id,
                    Token::random(),
                    outcome,
                    now,
                    later(now, ttl),
                );
            }
        }
        IfOwner::Done(())
    }
}
