//! How the secret is changed while services run.
//!
//! Services that know both secrets claim a key under the older one first. Only the holder of that claim may begin, and it
//! reads the record under the newer secret before it does:
//!
//! | Deployment | Secrets | A key |
//! |---|---|---|
//! | before | old | is claimed under the old one |
//! | 1 | old, next: new | is claimed under the old one, unless there is a record under the new one |
//! | 2 | new, previous: old | is claimed under the old one, then under the new one, and then released under the old one |
//! | 3 | new | is claimed under the new one |
//!
//! So a key runs once, although services of one deployment and of the next serve it together.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    ClaimedRun, Idempotency, NextAction, Operation, Replay, active_runs::ActiveRuns, decision,
    local_locks::LocalLocks, store_timeout::with_store_timeout,
};
use crate::{Rejection, RunMode, options::EffectiveOptions};

/// The secret that an engine knows besides its own.
pub(super) enum OtherSecret {
    /// The previous secret.
    Previous(Box<[u8]>),
    /// The secret that services get next.
    Next(Box<[u8]>),
}

/// Which of the two secrets names an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NamedBy {
    Own,
    Other,
}

impl OtherSecret {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Previous(secret) | Self::Next(secret) => secret,
        }
    }
}

impl Idempotency {
    /// The secret that names an operation.
    pub(crate) fn secret(&self, named_by: NamedBy) -> &[u8] {
        match (named_by, &self.0.other_secret) {
            (NamedBy::Other, Some(other)) => other.bytes(),
            _ => &self.0.secret,
        }
    }

    pub(super) fn is_in_rotation(&self) -> bool {
        self.0.other_secret.is_some()
    }

    /// Claims the key while the secret is being changed: `other` is the same operation under the other secret.
    pub(super) async fn begin_in_rotation(
        &self,
        own: Operation,
        other: Operation,
        options: &EffectiveOptions,
        patience: Option<Duration>,
    ) -> Result<NextAction<'_>, Rejection> {
        let begun = match self.0.other_secret {
            Some(OtherSecret::Previous(_)) => {
                self.begin_after_previous(own, other, options, patience)
                    .await?
            }
            _ => {
                self.begin_before_next(own, &other, options, patience)
                    .await?
            }
        };
        Ok(match begun {
            NextAction::Run(claimed) if options.mode == RunMode::Transactional => {
                NextAction::Run(claimed.in_transaction()?)
            }
            begun => begun,
        })
    }

    /// Claims in the first deployment: under the own secret, unless the key has a record under the next one.
    async fn begin_before_next(
        &self,
        own: Operation,
        next: &Operation,
        options: &EffectiveOptions,
        patience: Option<Duration>,
    ) -> Result<NextAction<'_>, Rejection> {
        // A completed request needs no claim, which would keep other requests out meanwhile.
        if let Ok(Some(replay)) = self.recorded(next).await {
            return Ok(NextAction::Replay(replay));
        }
        let begun = match self.begin_leased(own, options, patience).await {
            Ok(NextAction::Run(claimed)) => Ok(claimed),
            Err(Rejection::OutcomeUnknown) => Err(Rejection::OutcomeUnknown),
            begun => return begun,
        };
        match (self.recorded(next).await, begun) {
            (Ok(None), begun) => begun.map(NextAction::Run),
            (recorded, begun) => {
                if let Ok(claimed) = begun {
                    claimed.give_back().await;
                }
                recorded?
                    .map(NextAction::Replay)
                    .ok_or(Rejection::InProgress)
            }
        }
    }

    /// Claims in the second deployment: under the previous secret first, and then under the own one.
    async fn begin_after_previous(
        &self,
        own: Operation,
        previous: Operation,
        options: &EffectiveOptions,
        patience: Option<Duration>,
    ) -> Result<NextAction<'_>, Rejection> {
        // A completed request needs no claim.
        if let Ok(Some(replay)) = self.recorded(&own).await {
            return Ok(NextAction::Replay(replay));
        }
        // One wait for both claims.
        let deadline = patience.map(|patience| Instant::now() + patience);
        let mut first = match self.begin_leased(previous, options, patience).await {
            Ok(NextAction::Run(first)) => first,
            Err(Rejection::OutcomeUnknown) => {
                // A service that went on under its own secret may have left this claim, and completed the other one
                // since.
                let replay = self.recorded(&own).await?;
                return replay
                    .map(NextAction::Replay)
                    .ok_or(Rejection::OutcomeUnknown);
            }
            begun => return begun,
        };
        if first.attempt() > 1 && !self.is_recorded(&own).await? {
            // A run under the previous secret was lost. It resumes there, with its steps and its child keys.
            return Ok(NextAction::Run(first));
        }
        // Only one of the two runs begins.
        first.place = None;
        let patience = deadline.map(|end| end.saturating_duration_since(Instant::now()));
        let begun = self.begin_leased(own, options, patience).await;
        // From here on, a service of the first deployment finds the record under the new secret.
        first.give_back().await;
        begun
    }

    /// Claims under a lease, also in transactional mode: two transactions that write under different secrets would not meet.
    async fn begin_leased(
        &self,
        operation: Operation,
        options: &EffectiveOptions,
        patience: Option<Duration>,
    ) -> Result<NextAction<'_>, Rejection> {
        let guard =
            ActiveRuns::enter(&self.0.active_runs, &self.0.store).ok_or(Rejection::ShuttingDown)?;
        Box::pin(self.begin_lease(operation, options, patience, None, guard)).await
    }

    /// The stored response of this operation; `None` if there is no record.
    async fn recorded(&self, operation: &Operation) -> Result<Option<Replay>, Rejection> {
        let found = with_store_timeout(&self.0.store, self.0.store.inspect(&operation.id)).await?;
        let Some(record) = found else {
            return Ok(None);
        };
        let (outcome, expires_at) =
            decision::response_of_the_owner(&operation.asked, Some(record))?;
        Ok(Some(operation.replay(outcome, expires_at)))
    }

    async fn is_recorded(&self, operation: &Operation) -> Result<bool, Rejection> {
        let found = with_store_timeout(&self.0.store, self.0.store.inspect(&operation.id)).await?;
        Ok(found.is_some())
    }
}

impl ClaimedRun<'_> {
    /// Withdraws the claim before the response is sent, because the client may retry at once. If this fails or is
    /// dropped, a background task withdraws the claim.
    async fn give_back(mut self) {
        let Some(withdrawal) = self
            .claim
            .as_mut()
            .and_then(|claim| claim.withdrawal.take())
        else {
            return;
        };
        let (store, fingerprint) = (&self.idempotency.0.store, &self.operation.asked.fingerprint);
        let withdrawn = with_store_timeout(store, store.withdraw(&self.hold, fingerprint)).await;
        if withdrawn.is_ok() {
            withdrawal.cancel();
        }
    }

    /// Prepares the run's own transaction to complete its hold.
    fn in_transaction(mut self) -> Result<Self, Rejection> {
        let mut lock = LocalLocks::enter(&self.idempotency.0.local_locks, &self.operation.id);
        if lock.running().is_some() || !lock.acquire(&self.operation.asked.fingerprint) {
            // A run of this process that lost its lease may still go on.
            return Err(Rejection::InProgress);
        }
        self.local_lock = Some(lock);
        Ok(self)
    }
}
