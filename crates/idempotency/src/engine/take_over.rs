//! Resumes a key whose last run crashed, or failed after a step.

use bytes::Bytes;

use super::{
    Idempotency,
    active_runs::{ActiveRuns, RunGuard},
    claim::Claimed,
    decision::{self, Predecessor},
    finish::retry_until_lease_expires,
    metrics,
    store_timeout::with_store_timeout,
};
use crate::{
    Fingerprint, OnLost, Rejection,
    progress::Progress,
    record::Phase,
    store::{Claim, Hold, IfOwner, StoreError},
};

impl Idempotency {
    /// Reads what the previous attempt did, once this attempt holds the key.
    pub(super) async fn take_over(
        &self,
        hold: &Hold,
        attempt: u32,
        progress: Bytes,
    ) -> Result<Progress, Rejection> {
        if attempt == 1 {
            return Ok(Progress::default());
        }
        let mut progress = Progress::read(progress)?;
        if decision::predecessor(attempt, &progress) == Predecessor::Lost {
            metrics::take_over();
            tracing::warn!(
                idempotency.store = self.store().name(),
                idempotency.record = %hold.id,
                attempt,
                "took over a key whose owner was lost",
            );
            return Ok(progress);
        }
        if progress.name_attempt(attempt - 1) {
            // If this attempt crashes, its own progress must not say that it is suspended.
            let kept = with_store_timeout(
                &self.0.store,
                self.0.store.checkpoint(hold, progress.write()),
            );
            if Box::pin(kept).await? == IfOwner::NotOwner {
                return Err(Rejection::InProgress);
            }
        }
        // The progress that this attempt stores says nothing of the previous one.
        progress.resume();
        Ok(progress)
    }

    /// Where a lost run is not taken over, still claims the key of a run that suspended itself; `None` if it did not.
    pub(super) async fn claim_suspended(
        &self,
        hold: &Hold,
        fingerprint: &Fingerprint,
    ) -> Result<Option<Claimed>, Rejection> {
        let found = with_store_timeout(&self.0.store, self.0.store.inspect(&hold.id)).await?;
        let is_suspended = match found.map(|record| (record.attempt, record.phase)) {
            Some((attempt, Phase::InFlight { progress, .. })) => {
                Progress::read(progress)?.is_suspended(attempt)
            }
            _ => false,
        };
        if !is_suspended {
            return Ok(None);
        }
        let claimed = self
            .claim_to_run(hold, fingerprint, OnLost::TakeOver)
            .await?;
        match &claimed.claim {
            // A later attempt took over and crashed in the meantime, so its outcome is unknown again. The claim is
            // withdrawn when it is dropped.
            Claim::Won { attempt, progress }
                if decision::predecessor(*attempt, &Progress::read(progress.clone())?)
                    == Predecessor::Lost =>
            {
                Ok(None)
            }
            // Another request resumed it first, and crashed.
            Claim::Unknown { .. } => Ok(None),
            _ => Ok(Some(claimed)),
        }
    }

    /// Counts as a run, so that a shutdown waits for it.
    pub(crate) fn background_ticket(&self) -> RunGuard {
        ActiveRuns::enter_background(&self.0.active_runs, &self.0.store)
    }

    /// Stores what a run has done as soon as the store can, for as long as the hold lives.
    pub(crate) async fn checkpoint(
        &self,
        hold: &Hold,
        fingerprint: &Fingerprint,
        progress: Bytes,
    ) -> Result<IfOwner<()>, StoreError> {
        let (store, runs) = (self.store(), &self.0.active_runs);
        runs.note_progress(&hold.token, &progress);
        let keep = || with_store_timeout(store, store.checkpoint(hold, progress.clone()));
        let kept = retry_until_lease_expires(hold.lease, keep).await?;
        // Once the run has ended, nothing may be claimed for a step that is still running.
        if kept == IfOwner::NotOwner
            && runs.is_held(&hold.token)
            && retry_until_lease_expires(hold.lease, || runs.reclaim(store, hold, fingerprint))
                .await?
        {
            return retry_until_lease_expires(hold.lease, keep).await;
        }
        Ok(kept)
    }
}
