//! Resumes a key whose last run crashed, or failed after a step.

use bytes::Bytes;

use super::{
    Idempotency,
    active_runs::{ActiveRuns, RunGuard},
    claim::Claimed,
    decision::{self, Predecessor},
    finish::retry_until_lease_expires,
    store_timeout::with_store_timeout,
};
use crate::{
    Fingerprint, OnLost, Rejection, StoreError,
    progress::Progress,
    record::Phase,
    store::{Claim, Hold, IfOwner},
};

impl Idempotency {
    /// Reads what the last attempt has done, once the key is the next one's.
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
            tracing::warn!(
                idempotency.store = self.store().name(),
                idempotency.record = %hold.id,
                attempt,
                "took over a key whose owner did not come back",
            );
            return Ok(progress);
        }
        if progress.name_attempt(attempt - 1) {
            // Should this attempt crash, its own progress must not say that it is suspended.
            let kept = with_store_timeout(
                &self.0.store,
                self.0.store.checkpoint(hold, progress.write()),
            );
            if Box::pin(kept).await? == IfOwner::NotOwner {
                return Err(Rejection::InProgress);
            }
        }
        // What this attempt keeps says nothing of the one before it.
        progress.resume();
        Ok(progress)
    }

    /// Where a lost run is not taken over, still takes the key of one that has suspended itself; `None` if it has not.
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

    /// What a shutdown waits for, as for a run.
    pub(crate) fn background_ticket(&self) -> RunGuard {
        ActiveRuns::enter_background(&self.0.active_runs, &self.0.store)
    }

    /// Keeps what a run has done, as soon as the store can, for as long as the hold lives.
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
        // Of a step that goes on behind the end of its run, nothing may be claimed any more.
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
