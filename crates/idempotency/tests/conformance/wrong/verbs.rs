//! The verbs of a store of entries.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use idempotency::{
    Fingerprint, Store,
    store::{
        Claim, ClaimRequest, Entry, Hold, IfOwner, ListRequest, Listed, OnLost, Phase, Polling,
        Record, RecordId, Resolution, StoreError, Subscription, Token, Verification,
    },
};
use tokio::task::yield_now;

use super::{
    entries::{Entries, LIMIT},
    fault::Fault,
    spoiled::Verb,
};

#[async_trait]
impl Store for Entries {
    fn name(&self) -> &'static str {
        "entries"
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        let (hold, asked) = (request.hold, *request.fingerprint);
        if self.has(Fault::RefusesALeaseOfZero) && hold.lease.is_zero()
            || self.has(Fault::RefusesTimesWithoutEnd) && hold.ttl == Duration::MAX
        {
            return Err(StoreError::unavailable(
                "a time that this store does not take",
            ));
        }
        let others = self.entries.lock().keys().any(|id| *id != hold.id);
        if self.has(Fault::HoldsOneKeyAtATime) && others {
            return Ok(Claim::in_flight(asked));
        }
        let claimed = self.step(Verb::Claim, hold, |entry, hold, now| {
            let found = entry
                .inspect(&hold.id, now)
                .map(|record| record.fingerprint);
            let fingerprint = match self.fault {
                Some(Fault::TakesOverForAnotherRequest) => found.unwrap_or(asked),
                _ => asked,
            };
            let on_lost = match self.fault {
                Some(Fault::TakesOverForAClaimThatMayNot) => OnLost::TakeOver,
                _ => request.on_lost,
            };
            entry.claim(ClaimRequest::new(hold, &fingerprint, on_lost), now)
        });
        match claimed.await {
            Ok(Claim::Won { attempt: 1, .. }) if self.has(Fault::LeavesProgressBehind) => {
                let left = self
                    .left_behind
                    .lock()
                    .get(&hold.id)
                    .cloned()
                    .unwrap_or_default();
                self.checkpoint(hold, left.clone()).await?;
                Ok(Claim::won(1, left))
            }
            Ok(Claim::InFlight { .. }) if self.has(Fault::RepliesWithAnotherFingerprint) => {
                Ok(Claim::in_flight(asked))
            }
            Ok(Claim::Completed { fingerprint, .. })
                if self.has(Fault::ReplaysToTheSameRequestOnly) && fingerprint != asked =>
            {
                Ok(Claim::in_flight(fingerprint))
            }
            Err(_) if self.has(Fault::RepliesInFlightToSpentTokens) => Ok(Claim::in_flight(asked)),
            claimed => claimed,
        }
    }

    async fn withdraw(&self, hold: &Hold, _: &Fingerprint) -> Result<(), StoreError> {
        let withdrawn = self.step(Verb::Withdraw, hold, Entry::withdraw);
        withdrawn.await;
        Ok(())
    }

    async fn renew(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        Ok(self.step(Verb::Renew, hold, Entry::renew).await)
    }

    async fn checkpoint(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        let progress = self.progress(&hold.id, progress)?;
        let kept = self.step(Verb::Checkpoint, hold, |entry, hold, now| {
            entry.checkpoint(hold, progress, now)
        });
        Ok(kept.await)
    }

    async fn suspend(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        let progress = match self.fault {
            Some(Fault::SuspendsWithoutProgress) => Bytes::new(),
            _ => self.progress(&hold.id, progress)?,
        };
        let suspended = self.step(Verb::Suspend, hold, |entry, hold, now| {
            entry.suspend(hold, progress, now)
        });
        Ok(suspended.await)
    }

    async fn complete(&self, hold: &Hold, o: Bytes) -> Result<IfOwner<SystemTime>, StoreError> {
        let outcome = match self.outcome(o) {
            Ok(outcome) => outcome,
            Err(error) => {
                if self.has(Fault::FreesTheKeyOfALongOutcome) {
                    self.release(hold).await?;
                }
                return Err(error);
            }
        };
        let completed = self.step(Verb::Complete, hold, |entry, hold, now| {
            entry.complete(hold, outcome, now)
        });
        let completed = completed.await;
        Ok(match self.fault {
            Some(Fault::ReturnsTheTimeOfTheCompletion) => completed.map(|_| self.clock.now()),
            _ => completed,
        })
    }

    async fn release(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        Ok(self.step(Verb::Release, hold, Entry::release).await)
    }

    async fn resolve(
        &self,
        id: &RecordId,
        seen: &Token,
        resolution: Resolution,
    ) -> Result<IfOwner<()>, StoreError> {
        let resolution = match resolution {
            Resolution::Complete { outcome, ttl } => Resolution::Complete {
                outcome: self.outcome(outcome)?,
                ttl,
            },
            Resolution::Replace { outcome } => Resolution::Replace {
                outcome: self.outcome(outcome)?,
            },
            Resolution::Erase { outcome } => Resolution::Erase {
                outcome: self.kept(outcome, Fault::ErasesBeyondItsLimit, Fault::CutsOutcomes)?,
            },
            other => other,
        };
        // No hold has these times: they are those of the functions' holds.
        let hold = Hold::new(*id, *seen, Duration::from_secs(3), Duration::from_secs(6));
        let fresh = Token::random();
        let resolved = self.step(Verb::Resolve, &hold, |entry, hold, now| {
            let record = entry.inspect(&hold.id, now);
            let phase = record.map(|record| record.phase);
            let resolution = match (resolution, phase) {
                (Resolution::Forget, Some(Phase::InFlight { .. }))
                    if self.has(Fault::ForgetsRunningRecords) =>
                {
                    Resolution::Release
                }
                (resolution, _) => resolution,
            };
            entry.resolve(&hold.token, resolution, fresh, now)
        });
        Ok(resolved.await)
    }

    async fn inspect(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        let (entries, id) = (self.entries.lock(), self.id(id));
        Ok(entries.get(&id).and_then(|entry| {
            self.shown(
                &id,
                entry,
                Fault::InspectsExpiredRecords,
                Fault::InspectsFreeKeys,
            )
        }))
    }

    async fn list(&self, request: &ListRequest) -> Result<Vec<Listed>, StoreError> {
        let mut request = request.clone();
        match self.fault {
            Some(Fault::ListsBeyondItsLimit) => request.limit += 1,
            Some(Fault::ListsFromTheStart) => request.after = None,
            Some(Fault::ListsEveryPhase) => request.phase = None,
            Some(Fault::ListsEveryAge) => request.created_before = None,
            Some(Fault::ListsEveryLabel) => request.label = None,
            _ => {}
        }
        let entries = self.entries.lock();
        let shown = |(id, entry): (&RecordId, &Entry)| {
            self.shown(id, entry, Fault::ListsExpiredRecords, Fault::ListsFreeKeys)
        };
        let mut listed = request.select(entries.iter().filter_map(shown), self.clock.now());
        if self.has(Fault::ListsInAnyOrder) {
            listed.reverse();
        }
        Ok(listed)
    }

    async fn purge_expired(&self, limit: usize) -> Result<usize, StoreError> {
        let now = self.clock.now();
        let is_swept = |(id, entry): &(&RecordId, &Entry)| {
            let phase = entry.inspect(id, now).map(|record| record.phase);
            entry.is_expired(now)
                || match phase {
                    Some(Phase::Completed { .. }) => self.has(Fault::SweepsCompletedRecords),
                    Some(Phase::InFlight { lease_until, .. }) => {
                        self.has(Fault::SweepsLapsedHolds) && lease_until <= now
                    }
                    _ => false,
                }
        };
        let most = match self.fault {
            Some(Fault::SweepsBeyondItsLimit) => usize::MAX,
            _ => limit,
        };
        let swept: Vec<_> = {
            let entries = self.entries.lock();
            let swept = entries.iter().filter(is_swept).take(most);
            swept.map(|(id, _)| *id).collect()
        };
        if self.has(Fault::SweepsInTwoSteps) {
            yield_now().await;
        }
        let mut entries = self.entries.lock();
        let removed = swept
            .iter()
            .filter(|id| entries.remove(id).is_some())
            .count();
        Ok(match self.fault {
            Some(Fault::CountsWhatItDidNotSweep) => limit,
            _ => removed,
        })
    }

    async fn verify(&self) -> Verification {
        if self.has(Fault::LeavesARecordOfItsVerification) {
            let (id, day) = (RecordId::from_bytes([0; 32]), Duration::from_secs(86_400));
            let hold = Hold::new(id, Token::random(), day, day);
            let asked = Fingerprint::of([b"verify".as_slice()]);
            let claim = ClaimRequest::new(&hold, &asked, OnLost::TakeOver);
            drop(self.claim(claim).await);
        }
        Verification::of_steps(self).await
    }

    fn subscribe(&self, id: &RecordId) -> Subscription {
        let polling = Polling::every(Duration::from_secs(1));
        self.wakeups.subscribe(id, polling)
    }

    fn outcome_limit(&self) -> usize {
        match self.fault {
            Some(Fault::ReportsALongerLimit) => 2 * LIMIT,
            _ => LIMIT,
        }
    }
}
