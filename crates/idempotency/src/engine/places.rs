//! Limits how many runs are active concurrently.

use std::sync::Arc;

use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{Idempotency, claim::Claimed, store_timeout::with_store_timeout};
use crate::{
    Fingerprint, OnLost, Rejection,
    record::Phase,
    store::{Claim, Hold},
};

impl Idempotency {
    /// A place among the concurrent runs.
    pub(super) fn place_to_run(&self) -> Result<OwnedSemaphorePermit, Rejection> {
        let place = Arc::clone(&self.0.running).try_acquire_owned();
        place.map_err(|_| Rejection::Busy)
    }

    /// Claims the key if there is a place for the run. Otherwise only reads what a claim would have met, so that a stored
    /// response is still replayed.
    pub(super) async fn claim_to_run(
        &self,
        hold: &Hold,
        fingerprint: &Fingerprint,
        on_lost: OnLost,
    ) -> Result<Claimed, Rejection> {
        let busy = match self.place_to_run() {
            Ok(place) => {
                let mut claimed = self.claim_once(hold, fingerprint, on_lost).await?;
                // Only a request that runs keeps the place.
                claimed.place = Some(place).filter(|_| matches!(claimed.claim, Claim::Won { .. }));
                return Ok(claimed);
            }
            Err(busy) => busy,
        };
        let sent_at = Instant::now();
        let Some(record) =
            with_store_timeout(&self.0.store, self.0.store.inspect(&hold.id)).await?
        else {
            return Err(busy);
        };
        let fingerprint = record.fingerprint;
        Ok(Claimed {
            claim: match record.phase {
                Phase::Completed { outcome } => Claim::Completed {
                    fingerprint,
                    outcome,
                    expires_at: record.expires_at,
                },
                Phase::InFlight { .. } => Claim::InFlight { fingerprint },
            },
            sent_at,
            withdrawal: None,
            place: None,
        })
    }
}
