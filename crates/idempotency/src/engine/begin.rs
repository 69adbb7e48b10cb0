//! Claims the key of a request, and decides what follows.

use std::time::Duration;

use super::{
    ClaimedRun, Idempotency, NextAction, Operation,
    active_runs::{ActiveRuns, RunGuard},
    claim::Claimed,
    claimed_run::RecordedClaim,
    decision::{self, AfterClaim},
    local_locks::LocalLock,
};
use crate::{
    Rejection,
    options::{EffectiveOptions, RunMode},
    progress::Progress,
    store::{Claim, Hold},
};

/// How often a claim switches to the fingerprint form of the record that it finds. Each switch means that a process of
/// another version released the key in between.
const MAX_FORMS: usize = 4;

/// A request whose claim has to be waited for.
pub(crate) struct Waiting {
    operation: Operation,
    /// What a claim has met that was made already. It is dropped before the guard, so that a shutdown waits for its withdrawal.
    first: Option<(Hold, Claimed)>,
    guard: RunGuard,
}

impl Idempotency {
    /// Claims the key. Where the same request is running, waits for it first, for up to `patience`.
    pub(crate) async fn begin(
        &self,
        operation: Operation,
        options: &EffectiveOptions,
        patience: Option<Duration>,
    ) -> Result<NextAction, Rejection> {
        match self.begin_at_once(operation, options)? {
            Ok(begun) => Ok(begun),
            Err(waiting) => Box::pin(self.begin_waiting(*waiting, options, patience)).await,
        }
    }

    /// Like [`begin`](Self::begin), for requests that need not wait, so that their futures do not hold the state of a wait: the store responds at
    /// once, and the key is free, or its request is completed.
    pub(crate) fn begin_at_once(
        &self,
        operation: Operation,
        options: &EffectiveOptions,
    ) -> Result<Result<NextAction, Box<Waiting>>, Rejection> {
        let guard =
            ActiveRuns::enter(&self.0.active_runs, &self.0.store).ok_or(Rejection::ShuttingDown)?;
        self.0
            .sweeper
            .ensure_running(&self.0.store, self.0.sweep_every);

        // In a box, because hardly any request waits.
        let wait = |operation, first, guard| {
            Ok(Err(Box::new(Waiting {
                operation,
                first,
                guard,
            })))
        };
        if operation.other.is_some() || options.mode == RunMode::Transactional {
            return wait(operation, None, guard);
        }
        let hold = operation.hold(options);
        let fingerprint = &operation.asked.fingerprint;
        let Some(claimed) = self.claim_at_once(&hold, fingerprint, options.on_lost) else {
            return wait(operation, None, guard);
        };
        let claimed = claimed?;
        if !matches!(
            claimed.claim,
            Claim::Won { attempt: 1, .. } | Claim::Completed { .. }
        ) {
            return wait(operation, Some((hold, claimed)), guard);
        }
        match decision::after_claim(&operation.asked, claimed.claim) {
            AfterClaim::Run { attempt, .. } => Ok(Ok(NextAction::Run(Box::new(ClaimedRun {
                idempotency: self.clone(),
                operation,
                hold,
                claim: Some(RecordedClaim {
                    attempt,
                    progress: Progress::default(),
                    sent_at: claimed.sent_at,
                    withdrawal: claimed.withdrawal,
                }),
                local_lock: None,
                place: claimed.place,
                admission: claimed.admission,
                guard,
            })))),
            AfterClaim::Replay {
                outcome,
                expires_at,
            } => Ok(Ok(NextAction::Replay(
                operation.replay(outcome, expires_at),
            ))),
            AfterClaim::Refuse(rejection) => Err(rejection),
            AfterClaim::ClaimInForm(_) | AfterClaim::InspectLost => {
                unreachable!("these follow other claims")
            }
        }
    }

    /// Goes on with a request that has to wait.
    pub(crate) async fn begin_waiting(
        &self,
        waiting: Waiting,
        options: &EffectiveOptions,
        patience: Option<Duration>,
    ) -> Result<NextAction, Rejection> {
        let Waiting {
            mut operation,
            guard,
            first,
        } = waiting;
        if let Some(other) = operation.other.take() {
            let begun = self.begin_in_rotation(operation, *other, options, patience);
            return Box::pin(begun).await;
        }
        if options.mode == RunMode::Transactional {
            self.begin_transaction(operation, options, patience, guard)
                .await
        } else {
            self.begin_lease(operation, options, patience, None, guard, first)
                .await
        }
    }

    /// Claims the key in the store, under a lease.
    pub(super) async fn begin_lease(
        &self,
        mut operation: Operation,
        options: &EffectiveOptions,
        patience: Option<Duration>,
        local_lock: Option<Box<LocalLock>>,
        guard: RunGuard,
        first: Option<(Hold, Claimed)>,
    ) -> Result<NextAction, Rejection> {
        let (mut hold, mut claimed) = match first {
            Some((hold, claimed)) => {
                self.wait_after(hold, claimed, &operation, options, patience)
                    .await?
            }
            None => {
                let hold = operation.hold(options);
                self.claim(hold, &operation, options, patience).await?
            }
        };
        let mut forms_left = MAX_FORMS;
        loop {
            let Claimed {
                claim,
                sent_at,
                withdrawal,
                place,
                admission,
            } = claimed;
            match decision::after_claim(&operation.asked, claim) {
                AfterClaim::Run { attempt, progress } => {
                    let progress = self.take_over(&hold, attempt, progress).await?;
                    let claim = RecordedClaim {
                        attempt,
                        progress,
                        sent_at,
                        withdrawal,
                    };
                    return Ok(NextAction::Run(Box::new(ClaimedRun {
                        idempotency: self.clone(),
                        operation,
                        hold,
                        claim: Some(claim),
                        local_lock,
                        place,
                        admission,
                        guard,
                    })));
                }
                AfterClaim::ClaimInForm(form) if forms_left > 0 => {
                    forms_left -= 1;
                    operation.asked.fingerprint = form;
                    let claiming = self.claim(hold, &operation, options, patience);
                    (hold, claimed) = Box::pin(claiming).await?;
                }
                AfterClaim::ClaimInForm(_) => return Err(Rejection::InProgress),
                // A claim that leaves nothing behind takes nothing over either.
                AfterClaim::InspectLost if hold.ttl.is_zero() => {
                    return Err(Rejection::OutcomeUnknown);
                }
                AfterClaim::InspectLost => {
                    let claiming = self.claim_suspended(&hold, &operation.asked.fingerprint);
                    let Some(resumed) = Box::pin(claiming).await? else {
                        tracing::warn!(
                            idempotency.store = self.store().name(),
                            idempotency.record = %operation.id,
                            "refused a key whose owner was lost; an operator has to resolve it",
                        );
                        return Err(Rejection::OutcomeUnknown);
                    };
                    claimed = resumed;
                }
                AfterClaim::Replay {
                    outcome,
                    expires_at,
                } => return Ok(NextAction::Replay(operation.replay(outcome, expires_at))),
                AfterClaim::Refuse(rejection) => return Err(rejection),
            }
        }
    }
}
