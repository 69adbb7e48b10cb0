//! What a claim gets, and how it is undone.

use std::time::SystemTime;

use bytes::Bytes;
use idempotency::store::{Claim, ClaimRequest, Hold, OnLost, Phase, Record, StoreError};

use crate::entry::{Entry, later};

impl Entry {
    pub(crate) fn claim(
        &mut self,
        request: ClaimRequest<'_>,
        now: SystemTime,
    ) -> Result<Claim, StoreError> {
        let (hold, fingerprint) = (request.hold, *request.fingerprint);
        if self.spent.contains(&hold.token) {
            return Err(StoreError::withdrawn());
        }
        let lease_until = later(now, hold.lease);
        let claim = match &mut self.record {
            None => {
                self.record = Some(first_attempt(request, now));
                Claim::won(1, Bytes::new())
            }
            Some(record) => match &mut record.phase {
                Phase::Completed { outcome } => {
                    let outcome = outcome.clone();
                    return Ok(Claim::completed(record.fingerprint, outcome, self.ends));
                }
                // The reply to this claim was lost, and it comes again.
                Phase::InFlight { progress, .. } if record.token == hold.token => {
                    return Ok(Claim::won(record.attempt, progress.clone()));
                }
                Phase::InFlight {
                    lease_until: lapses,
                    progress,
                } if *lapses <= now && record.fingerprint == fingerprint => {
                    if request.on_lost != OnLost::TakeOver {
                        return Ok(Claim::unknown(fingerprint));
                    }
                    *lapses = lease_until;
                    record.token = hold.token;
                    record.attempt += 1;
                    Claim::won(record.attempt, progress.clone())
                }
                _ => return Ok(Claim::in_flight(record.fingerprint)),
            },
        };
        self.ends = later(lease_until, hold.ttl);
        Ok(claim)
    }

    /// The key is as it was before this claim, which may not have arrived yet.
    pub(crate) fn withdraw(&mut self, hold: &Hold, now: SystemTime) {
        if self.spent.contains(&hold.token) {
            return;
        }
        let forgotten_at = later(later(now, hold.lease), hold.ttl);
        let Some(record) = &mut self.record else {
            return self.free(hold.token, forgotten_at);
        };
        let is_own = record.token == hold.token;
        match &mut record.phase {
            Phase::InFlight { progress, .. }
                if is_own && record.attempt == 1 && progress.is_empty() =>
            {
                self.free(hold.token, forgotten_at);
            }
            Phase::InFlight { lease_until, .. } if is_own => {
                *lease_until = now;
                record.attempt = (record.attempt - 1).max(1);
                self.ends = later(now, hold.ttl);
                self.spend(hold.token);
            }
            // Another owner's run goes on as it is, and the claim takes nothing when it arrives.
            Phase::InFlight { .. } => self.spend(hold.token),
            _ => {}
        }
    }
}

fn first_attempt(request: ClaimRequest<'_>, now: SystemTime) -> Record {
    let hold = request.hold;
    let phase = Phase::InFlight {
        lease_until: later(now, hold.lease),
        progress: Bytes::new(),
    };
    let mut record = Record::new(hold.id, *request.fingerprint, hold.token, 1, now, phase);
    record.created_at = Some(now);
    record.labels = hold.labels.clone();
    record
}
