//! Runs that write nothing before their own transaction, which also writes the key's record.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{
    ClaimedRun, Executed, Idempotency, NextAction, Operation, WorkResult,
    active_runs::RunGuard,
    claim::{Claimed, Withdrawal},
    decision::{self, AfterLook, TransactionalEnd},
    finish,
    finish::Held,
    local_locks::{LocalLock, LocalLocks},
    store_timeout::with_store_timeout,
    waiting::WaitingRoom,
};
use crate::{
    Fingerprint, OnLost, Rejection,
    log_text::Causes,
    options::EffectiveOptions,
    store::{Claim, Hold, IfOwner},
};

impl Idempotency {
    /// Takes the key within this process, unless the store has a record of it.
    pub(super) async fn begin_transaction(
        &self,
        operation: Operation,
        options: &EffectiveOptions,
        patience: Option<Duration>,
        guard: RunGuard,
    ) -> Result<NextAction, Rejection> {
        let deadline = patience.map(|patience| Instant::now() + patience);
        let mut local_lock = LocalLocks::enter(&self.0.local_locks, &operation.id);
        // Kept across attempts, so that a waiter does not lose its place.
        let mut waits = None;
        loop {
            if let Some(running) = local_lock.running() {
                operation.asked.same_as(&running)?;
                let deadline = deadline.ok_or(Rejection::InProgress)?;
                if waits.is_none() {
                    waits = WaitingRoom::enter(&self.0.waiting, operation.waiter);
                }
                if waits.is_none() {
                    return Err(Rejection::InProgress);
                }
                self.wait_for(&mut local_lock, deadline).await?;
                continue;
            }
            let found =
                with_store_timeout(&self.0.store, self.0.store.inspect(&operation.id)).await?;
            match decision::after_look(&operation.asked, found)? {
                AfterLook::RunInTransaction => {
                    // Its transaction writes the record, which the limit no longer refuses.
                    self.0.store.check_room(&operation.scope)?;
                    let place = self.place_to_run()?;
                    if local_lock.acquire(&operation.asked.fingerprint) {
                        let admission = self.admit(operation.scope)?;
                        return Ok(NextAction::Run(Box::new(ClaimedRun {
                            idempotency: self.clone(),
                            hold: operation.hold(options),
                            operation,
                            claim: None,
                            local_lock: Some(Box::new(local_lock)),
                            place: Some(place),
                            admission,
                            guard,
                        })));
                    }
                }
                AfterLook::ClaimLease => {
                    if local_lock.acquire(&operation.asked.fingerprint) {
                        drop(waits);
                        let patience = deadline
                            .map(|deadline| deadline.saturating_duration_since(Instant::now()));
                        let leased = self.begin_lease(
                            operation,
                            options,
                            patience,
                            Some(Box::new(local_lock)),
                            guard,
                            None,
                        );
                        return Box::pin(leased).await;
                    }
                }
                AfterLook::Replay {
                    outcome,
                    expires_at,
                } => return Ok(NextAction::Replay(operation.replay(outcome, expires_at))),
            }
        }
    }

    /// Waits until the run that has the key ends, within the time left.
    async fn wait_for(
        &self,
        local_lock: &mut LocalLock,
        deadline: Instant,
    ) -> Result<(), Rejection> {
        // Subscribe first, then read: what ends between the two is not missed.
        let mut subscription = local_lock.subscribe();
        if local_lock.running().is_none() {
            return Ok(());
        }
        tokio::select! {
            changed = timeout_at(deadline, subscription.changed()) => {
                changed.map_err(|_| Rejection::InProgress)
            }
            () = self.0.active_runs.closed() => Err(Rejection::ShuttingDown),
        }
    }
}

/// Ends a run that has no hold in the store.
///
/// What its transaction did not commit had no effect, so its response counts only if no other run has committed under the
/// key: a transaction that failed may have failed on that run's rows.
pub(super) async fn finish<R>(
    idempotency: &Idempotency,
    hold: Hold,
    fingerprint: Fingerprint,
    ending: WorkResult<R>,
    guard: RunGuard,
) -> IfOwner<Executed<R>> {
    let WorkResult { response, persist } = ending;
    let expires_at = match decision::transactional_end(&persist) {
        TransactionalEnd::Send(expires_at) => expires_at,
        TransactionalEnd::Superseded => return IfOwner::NotOwner,
        TransactionalEnd::SendIfUnrecorded => {
            match with_store_timeout(guard.store(), guard.store().inspect(&hold.id)).await {
                Ok(Some(_)) => return IfOwner::NotOwner,
                Ok(None) => None,
                Err(error) => {
                    tracing::warn!(
                        idempotency.store = idempotency.store().name(),
                        idempotency.record = %hold.id,
                        error = %Causes(&error),
                        "the store cannot say whether an equal run has committed, so the response of a run that has not committed is not sent",
                    );
                    return IfOwner::NotOwner;
                }
            }
        }
        TransactionalEnd::ClaimAndStore => {
            // There was no record when the run began, so a hold that now exists belongs to another run.
            let claimed = idempotency.claim_once(&hold, &fingerprint, OnLost::Refuse);
            match claimed.await {
                Ok(Claimed {
                    claim: Claim::Won { .. },
                    withdrawal,
                    ..
                }) => {
                    withdrawal.into_iter().for_each(Withdrawal::cancel);
                    let held = Held::new(hold, fingerprint, guard);
                    return finish::finish(held, WorkResult { response, persist }).await;
                }
                Ok(_) => return IfOwner::NotOwner,
                Err(error) => {
                    tracing::warn!(
                        idempotency.store = idempotency.store().name(),
                        idempotency.record = %hold.id,
                        error = %Causes(&error),
                        "the response of a run that changed nothing could not be stored, and is not sent; a retry runs again",
                    );
                    // An equal run of another process may have committed, and this run may have failed on its rows.
                    return IfOwner::NotOwner;
                }
            }
        }
    };
    IfOwner::Done(Executed {
        response,
        expires_at,
    })
}
