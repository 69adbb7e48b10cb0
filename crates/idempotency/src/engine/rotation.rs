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
//! So a key runs once, although services of one deployment and of the next serve it together. Before the run begins under the
//! new one, the claim under the old one is renewed: a service that has lost it gives both back.
//!
//! In the second deployment the claim under the old secret expires with its lease. Only a run that the first deployment has
//! lost or suspended is found there later, and is resumed there.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{
    ClaimedRun, Idempotency, NextAction, Operation, Replay, active_runs::ActiveRuns, decision,
    local_locks::LocalLocks, store_timeout::with_store_timeout, waiting::WaitingRoom,
};
use crate::{
    OnLost, Rejection,
    options::{EffectiveOptions, RunMode},
    store::{IfOwner, Subscription},
};

/// The secret that an engine knows besides its own.
pub(super) enum OtherSecret {
    /// The previous secret.
    Previous(Arc<[u8]>),
    /// The secret that services get next.
    Next(Arc<[u8]>),
}

/// Which of the two secrets names an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NamedBy {
    Own,
    Other,
}

impl OtherSecret {
    pub(super) fn bytes(&self) -> &Arc<[u8]> {
        match self {
            Self::Previous(secret) | Self::Next(secret) => secret,
        }
    }
}

impl Idempotency {
    /// The secret that names an operation.
    pub(crate) fn secret(&self, named_by: NamedBy) -> &Arc<[u8]> {
        match (named_by, &self.0.other_secret) {
            (NamedBy::Other, Some(other)) => other.bytes(),
            _ => &self.0.secret,
        }
    }

    /// Claims the key while the secret is being changed: `other` is the same operation under the other secret.
    pub(super) async fn begin_in_rotation(
        &self,
        own: Operation,
        other: Operation,
        options: &EffectiveOptions,
        patience: Option<Duration>,
    ) -> Result<NextAction, Rejection> {
        let is_second = matches!(self.0.other_secret, Some(OtherSecret::Previous(_)));
        let [older, newer] = if is_second {
            [other, own]
        } else {
            [own, other]
        };
        // One wait for all claims.
        let deadline = patience.map(|patience| Instant::now() + patience);
        let mut changes = None;
        let mut claimed = loop {
            let begun = if is_second {
                let begun = self.begin_after_previous(&older, &newer, options, deadline);
                Box::pin(begun).await
            } else {
                let begun = self.begin_before_next(&older, &newer, options, deadline);
                Box::pin(begun).await
            };
            match (begun, deadline) {
                (Ok(NextAction::Run(claimed)), _) => break claimed,
                // No claim is held during the wait: it may be longer than a lease.
                (Err(Rejection::InProgress), Some(deadline)) => {
                    self.wait_for_change(&mut changes, &newer, deadline).await?;
                }
                (begun, _) => return begun,
            }
        };
        let twin = match claimed.operation.named_by {
            named_by if named_by == newer.named_by => older,
            _ => newer,
        };
        claimed.operation.other = Some(Box::new(twin));
        Ok(NextAction::Run(match options.mode {
            RunMode::Transactional => claimed.in_transaction()?,
            RunMode::Lease => claimed,
        }))
    }

    /// Claims in the first deployment: under the own secret, unless the key has a record under the next one.
    async fn begin_before_next(
        &self,
        own: &Operation,
        next: &Operation,
        options: &EffectiveOptions,
        deadline: Option<Instant>,
    ) -> Result<NextAction, Rejection> {
        // A completed request needs no claim, which would keep other requests out meanwhile.
        if let Ok(Some(replay)) = self.recorded(next).await {
            return Ok(NextAction::Replay(replay));
        }
        let begun = match self.begin_leased(own, options, deadline).await {
            Ok(NextAction::Run(claimed)) => Ok(claimed),
            // The record under the next secret decides first, if there is one.
            Err(
                refused @ (Rejection::OutcomeUnknown
                | Rejection::TooManyNewKeys { .. }
                | Rejection::TooManyLiveKeys { .. }),
            ) => Err(refused),
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
        previous: &Operation,
        own: &Operation,
        options: &EffectiveOptions,
        deadline: Option<Instant>,
    ) -> Result<NextAction, Rejection> {
        // A completed request needs no claim.
        if let Ok(Some(replay)) = self.recorded(own).await {
            return Ok(NextAction::Replay(replay));
        }
        // Nothing runs under this claim. If this process dies, the claim expires with its lease, so that no service takes it
        // for a run that was lost.
        let brief = EffectiveOptions {
            ttl: Duration::ZERO,
            on_lost: OnLost::Refuse,
            ..*options
        };
        let mut first = match self.begin_leased(previous, &brief, deadline).await {
            Ok(NextAction::Run(first)) => first,
            Err(Rejection::OutcomeUnknown) => {
                match self.begin_leased(previous, options, deadline).await {
                    Ok(NextAction::Run(first)) => {
                        if self.is_recorded(own).await? {
                            first
                        } else if first.attempt() > 1 {
                            first.warn_of_previous_secret();
                            return Ok(NextAction::Run(first));
                        } else {
                            // The lost run's record is gone, so this claim would look like a lost run.
                            first.give_back().await;
                            return Err(Rejection::InProgress);
                        }
                    }
                    Err(Rejection::OutcomeUnknown) => {
                        // A service that went on under its own secret may have left this claim, and completed the other
                        // one since.
                        let replay = self.recorded(own).await?;
                        return replay
                            .map(NextAction::Replay)
                            .ok_or(Rejection::OutcomeUnknown);
                    }
                    begun => return begun,
                }
            }
            begun => return begun,
        };
        // Only one of the two runs begins.
        first.place = None;
        let begun = match self.begin_leased(own, options, None).await {
            Ok(NextAction::Run(second)) => {
                // If the first claim has expired meanwhile, another service may run under the previous secret.
                let renewed = self.0.store.renew(&first.hold);
                match with_store_timeout(&self.0.store, renewed).await {
                    Ok(IfOwner::Done(())) => Ok(NextAction::Run(second)),
                    renewed => {
                        second.give_back().await;
                        Err(renewed.err().map_or(Rejection::InProgress, Rejection::from))
                    }
                }
            }
            begun => begun,
        };
        // From here on, a service of the first deployment finds the record under the new secret.
        first.give_back().await;
        begun
    }

    /// Waits for the run under the newer secret. The first call only subscribes: what changed before is read by the claims
    /// that follow it.
    async fn wait_for_change(
        &self,
        changes: &mut Option<Subscription>,
        newer: &Operation,
        deadline: Instant,
    ) -> Result<(), Rejection> {
        let Some(changes) = changes else {
            *changes = Some(self.0.store.subscribe(&newer.id));
            return Ok(());
        };
        let place = WaitingRoom::enter(&self.0.waiting, newer.waiter);
        let _place = place.ok_or(Rejection::InProgress)?;
        tokio::select! {
            changed = timeout_at(deadline, changes.changed()) => {
                changed.map_err(|_| Rejection::InProgress)
            }
            () = self.0.active_runs.closed() => Err(Rejection::ShuttingDown),
        }
    }

    /// Claims under a lease, also in transactional mode: two transactions that write under different secrets would not meet.
    async fn begin_leased(
        &self,
        operation: &Operation,
        options: &EffectiveOptions,
        deadline: Option<Instant>,
    ) -> Result<NextAction, Rejection> {
        let guard =
            ActiveRuns::enter(&self.0.active_runs, &self.0.store).ok_or(Rejection::ShuttingDown)?;
        let patience = deadline.map(|end| end.saturating_duration_since(Instant::now()));
        let operation = operation.clone();
        Box::pin(self.begin_lease(operation, options, patience, None, guard, None)).await
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

impl ClaimedRun {
    /// Withdraws the claim before the response is sent, because the client may retry at once. If this fails or is
    /// dropped, a background task withdraws the claim.
    async fn give_back(mut self: Box<Self>) {
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

    /// The run goes on under the previous secret, with its steps and its child keys, and will leave its response there.
    fn warn_of_previous_secret(&self) {
        tracing::warn!(
            idempotency.store = self.idempotency.store().name(),
            idempotency.record = %self.hold.id,
            "a run is resumed under the previous secret, which is needed for twice the longest ttl from now on",
        );
    }

    /// Prepares the run's own transaction to complete its hold.
    fn in_transaction(mut self: Box<Self>) -> Result<Box<Self>, Rejection> {
        let mut lock = LocalLocks::enter(&self.idempotency.0.local_locks, &self.operation.id);
        if lock.running().is_some() || !lock.acquire(&self.operation.asked.fingerprint) {
            // A run of this process that lost its lease may still be running.
            return Err(Rejection::InProgress);
        }
        self.local_lock = Some(Box::new(lock));
        Ok(self)
    }
}
