//! How a duplicate waits for the run that has its key.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{Idempotency, Operation, claim::Claimed, decision::waits_after, waiting::WaitingRoom};
use crate::{
    Fingerprint, OnLost, Rejection, options::EffectiveOptions, record::Token, store::Hold,
};

impl Idempotency {
    /// Claims the key. Where the same request is running, waits up to `patience` for its end.
    ///
    /// Each claim has a token of its own. A waiter that finds the key free takes it; the others find it taken and
    /// continue to wait. A waiter whose time is up leaves no trace.
    pub(super) async fn claim(
        &self,
        hold: Hold,
        operation: &Operation,
        options: &EffectiveOptions,
        patience: Option<Duration>,
    ) -> Result<(Hold, Claimed), Rejection> {
        let (fingerprint, on_lost) = (&operation.asked.fingerprint, options.on_lost);
        let claimed = self.claim_to_run(&hold, fingerprint, on_lost).await?;
        self.wait_after(hold, claimed, operation, options, patience)
            .await
    }

    /// The same after this first claim.
    pub(super) async fn wait_after(
        &self,
        hold: Hold,
        claimed: Claimed,
        operation: &Operation,
        options: &EffectiveOptions,
        patience: Option<Duration>,
    ) -> Result<(Hold, Claimed), Rejection> {
        let (fingerprint, on_lost) = (&operation.asked.fingerprint, options.on_lost);
        let Some(patience) = patience.filter(|_| waits_after(&claimed.claim, fingerprint)) else {
            return Ok((hold, claimed));
        };
        let Some(_place) = WaitingRoom::enter(&self.0.waiting, operation.waiter) else {
            return Ok((hold, claimed));
        };
        // Boxed, so that requests that do not wait need not hold the state of a wait.
        Box::pin(self.wait(hold, fingerprint, on_lost, patience)).await
    }

    async fn wait(
        &self,
        mut hold: Hold,
        fingerprint: &Fingerprint,
        on_lost: OnLost,
        patience: Duration,
    ) -> Result<(Hold, Claimed), Rejection> {
        let deadline = Instant::now() + patience;
        // Subscribe first, then read: what changes between the two is not missed.
        let mut subscription = self.0.store.subscribe(&hold.id);
        loop {
            hold.token = Token::random();
            let claimed = self.claim_to_run(&hold, fingerprint, on_lost).await?;
            if !waits_after(&claimed.claim, fingerprint) {
                return Ok((hold, claimed));
            }
            tokio::select! {
                // Not by chance, so that a simulation can be repeated.
                biased;
                () = self.0.active_runs.closed() => return Err(Rejection::ShuttingDown),
                changed = timeout_at(deadline, subscription.changed()) => {
                    if changed.is_err() {
                        return Ok((hold, claimed));
                    }
                }
            }
        }
    }
}
