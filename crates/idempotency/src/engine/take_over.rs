//! What the next attempt makes of a run that has left its key behind.

use std::time::Duration;

use bytes::Bytes;

#[cfg(feature = "axum")]
use super::claim;
use super::{Idempotency, bounded, claim::Claiming};
#[cfg(feature = "axum")]
use crate::StoreError;
use crate::{Claim, Fenced, Fingerprint, Hold, OnLost, Phase, Refusal, progress::Progress};

impl Idempotency {
    /// Reads what the last attempt has done, once the key is the next one's.
    pub(super) async fn take_over(
        &self,
        hold: &Hold,
        attempt: u32,
        progress: Bytes,
    ) -> Result<Progress, Refusal> {
        if attempt == 1 {
            return Ok(Progress::default());
        }
        let mut progress = Progress::read(progress)?;
        if !progress.given_back {
            tracing::warn!(
                idempotency.record = %hold.id,
                attempt,
                "took over a key whose owner did not come back",
            );
            return Ok(progress);
        }
        // Should this attempt not come back either, then nobody may think that it has given its key back.
        progress.given_back = false;
        let kept = bounded(self.0.store.checkpoint(hold, progress.write()));
        match Box::pin(kept).await? {
            Fenced::Done(()) => Ok(progress),
            Fenced::Lost => Err(Refusal::InProgress),
        }
    }

    /// Where a lost run is not taken over, still takes the key of one that has given it back.
    pub(super) async fn claim_given_back(
        &self,
        hold: &Hold,
        fingerprint: &Fingerprint,
        unknown: Claim,
    ) -> Result<Claim, Refusal> {
        let found = bounded(self.0.store.inspect(&hold.id)).await?;
        let given_back = match found.map(|record| record.phase) {
            Some(Phase::InFlight { progress, .. }) => Progress::read(progress)?.given_back,
            _ => false,
        };
        if !given_back {
            return Ok(unknown);
        }
        let claiming = Claiming::new(&self.0.store, hold, fingerprint, OnLost::TakeOver);
        let claim = bounded(claiming).await?;
        match &claim {
            // Another attempt has come between and was lost, so this one has no business with the key.
            Claim::Won { progress, .. } if !Progress::read(progress.clone())?.given_back => {
                let lapsed = Hold {
                    lease: Duration::ZERO,
                    ..hold.clone()
                };
                bounded(self.0.store.renew(&lapsed)).await?;
                Ok(unknown)
            }
            _ => Ok(claim),
        }
    }

    /// Keeps what a run has done, as soon as the store can, for as long as the hold lives.
    #[cfg(feature = "axum")]
    pub(crate) async fn checkpoint(
        &self,
        hold: &Hold,
        progress: Bytes,
    ) -> Result<Fenced<()>, StoreError> {
        let store = &self.0.store;
        claim::insist(hold, || bounded(store.checkpoint(hold, progress.clone()))).await
    }
}
