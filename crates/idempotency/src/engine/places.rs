//! Limits how many runs are active concurrently, and what each scope uses.

use std::sync::Arc;

use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{
    Idempotency,
    claim::Claimed,
    scope_limits::{Admission, ScopeLimits},
    store_timeout::with_store_timeout,
};
use crate::{
    Fingerprint, OnLost, Rejection,
    record::{Phase, Record, ScopeId},
    store::{Claim, Hold},
};

impl Idempotency {
    /// A place among the concurrent runs.
    pub(super) fn place_to_run(&self) -> Result<OwnedSemaphorePermit, Rejection> {
        let place = Arc::clone(&self.0.running).try_acquire_owned();
        place.map_err(|_| Rejection::Busy)
    }

    /// What the scope may take for a new key; `None` if scopes have no limits.
    pub(super) fn admit(&self, scope: ScopeId) -> Result<Option<Admission>, Rejection> {
        let limits = self.0.scope_limits.as_ref();
        limits
            .map(|limits| ScopeLimits::admit(limits, scope))
            .transpose()
    }

    /// Whether each scope may use a limited number of new keys.
    #[cfg(feature = "axum")]
    pub(crate) fn limits_new_keys(&self) -> bool {
        let limits = self.0.scope_limits.as_ref();
        limits.is_some_and(|limits| limits.have_rate())
    }

    /// Claims the key if there is a place for the run, and the key is old or its scope may use a new one. Without a place this
    /// only reads what a claim would have met, so that a stored response is still replayed.
    pub(super) async fn claim_to_run(
        &self,
        hold: &Hold,
        fingerprint: &Fingerprint,
        on_lost: OnLost,
    ) -> Result<Claimed, Rejection> {
        let place = match self.place_to_run() {
            Ok(place) => place,
            Err(busy) => return self.met_by(hold).await?.ok_or(busy),
        };
        let admission = self.admit_claim(hold).await?;
        let mut claimed = self.claim_once(hold, fingerprint, on_lost).await?;
        if let Claim::Won { attempt, .. } = claimed.claim {
            // Only a request that runs keeps the place, and only a new key counts.
            claimed.place = Some(place);
            claimed.admission = admission.filter(|_| attempt == 1);
        }
        Ok(claimed)
    }

    /// Whether the scope may claim this key. An old key may be claimed whatever the scope has taken.
    async fn admit_claim(&self, hold: &Hold) -> Result<Option<Admission>, Rejection> {
        // Nothing runs under a claim that leaves nothing behind.
        if hold.ttl.is_zero() {
            return Ok(None);
        }
        match self.admit(hold.scope) {
            // Claims of old keys that were under way have left room by now.
            Err(_) if self.inspect(hold).await?.is_none() => self.admit(hold.scope),
            Err(_) => Ok(None),
            admitted => admitted,
        }
    }

    /// What a claim would have met; `None` if it would have taken the key.
    async fn met_by(&self, hold: &Hold) -> Result<Option<Claimed>, Rejection> {
        let sent_at = Instant::now();
        Ok(self.inspect(hold).await?.map(|record| Claimed {
            claim: match record.phase {
                Phase::Completed { outcome } => Claim::Completed {
                    fingerprint: record.fingerprint,
                    outcome,
                    expires_at: record.expires_at,
                },
                Phase::InFlight { .. } => Claim::InFlight {
                    fingerprint: record.fingerprint,
                },
            },
            sent_at,
            withdrawal: None,
            place: None,
            admission: None,
        }))
    }

    async fn inspect(&self, hold: &Hold) -> Result<Option<Record>, Rejection> {
        Ok(with_store_timeout(&self.0.store, self.0.store.inspect(&hold.id)).await?)
    }
}
