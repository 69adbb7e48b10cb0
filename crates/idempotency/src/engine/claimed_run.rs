//! The right to run, and the run itself.

#[cfg(feature = "axum")]
use std::time::Duration;
use std::{sync::Arc, thread};

use futures_util::future::{BoxFuture, Either, Ready, ready};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{
    Executed, Finished, Idempotency, NamedBy, Operation, Replay, RequestOutcome, Tally, WorkResult,
    active_runs::RunGuard, claim::Withdrawal, decision, detach_on_drop::DetachOnDrop, finish,
    finish::Held, local_locks::LocalLock, metrics::Running, scope_limits::Admission,
    store_timeout::with_store_timeout, tally, transactional,
};
use crate::{
    Rejection,
    log_text::Causes,
    progress::Progress,
    store::{Hold, IfOwner, transaction::PendingRecord},
};

/// The right to run, with all that the run needs. A claim whose run does not begin is withdrawn when this is dropped.
pub(crate) struct ClaimedRun<'a> {
    pub(super) idempotency: &'a Idempotency,
    pub(super) operation: Operation,
    pub(super) hold: Hold,
    /// `None` where the run's transaction will write the record.
    pub(super) claim: Option<RecordedClaim>,
    /// In transactional mode, the key's lock in this process.
    pub(super) local_lock: Option<Box<LocalLock>>,
    /// Its place among the concurrent runs.
    pub(super) place: Option<OwnedSemaphorePermit>,
    /// What its scope may take, if the key is new and scopes have limits.
    pub(super) admission: Option<Admission>,
    pub(super) guard: RunGuard,
}

/// A hold that the store has recorded.
pub(super) struct RecordedClaim {
    pub(super) attempt: u32,
    pub(super) progress: Progress,
    /// When the lease begins to count.
    pub(super) sent_at: Instant,
    pub(super) withdrawal: Option<Withdrawal>,
}

/// A run that is under way. Dropping it does not stop the work, which then continues in a task of its own.
pub(crate) struct Begun<R: Send + 'static> {
    idempotency: Idempotency,
    // In a box, because it is part of the request's future.
    operation: Box<Operation>,
    run: DetachOnDrop<Counted<R>>,
}

/// What a run comes to for its client, at once, or once another run's response is read.
type Ended<'a, R> =
    Either<Ready<Result<Finished<R>, Rejection>>, BoxFuture<'a, Result<Finished<R>, Rejection>>>;

/// What comes back from a run: how it has ended, and the tally of its request.
type Counted<R> = (Result<IfOwner<Executed<R>>, Rejection>, Tally);

impl ClaimedRun<'_> {
    /// Prepares the run, which begins when it is awaited, and stores what the work leaves.
    // The work is created where it is awaited, because a future that is passed as an argument takes up space twice. What the run needs is used
    // in place for the same reason.
    pub(crate) fn start<R, W>(
        self,
        tally: &mut Tally,
        work: impl FnOnce() -> W + Send + 'static,
    ) -> Begun<R>
    where
        R: Send + 'static,
        W: Future<Output = WorkResult<R>> + Send + 'static,
    {
        let Self {
            idempotency,
            operation,
            hold,
            mut claim,
            local_lock,
            place,
            mut admission,
            mut guard,
        } = self;
        let fingerprint = operation.asked.fingerprint;
        let engine = idempotency.clone();
        tally.record(operation.id);
        let mut counted = tally.hand_over();
        let ttl = hold.ttl;
        let run = async move {
            // Without a claim its own transaction writes the record.
            if let Some(claim) = &mut claim {
                let progress = claim.progress.write();
                let (attempt, sent_at) = (claim.attempt, claim.sent_at);
                if guard.hold(hold.clone(), fingerprint, attempt, progress, sent_at) {
                    tokio::task::yield_now().await;
                }
                // The last call before the work begins. If it fails, the claim is withdrawn.
                if !hold.is_fresh(sent_at) {
                    let refreshed = engine.refresh(&hold, &fingerprint, Some(sent_at));
                    match Box::pin(refreshed).await {
                        Ok(IfOwner::Done(_)) => {}
                        Ok(IfOwner::NotOwner) => return (Err(Rejection::InProgress), counted),
                        Err(error) => return (Err(error.into()), counted),
                    }
                }
                claim
                    .withdrawal
                    .take()
                    .into_iter()
                    .for_each(Withdrawal::cancel);
            }
            admission.iter_mut().for_each(Admission::use_up);
            let running = Running::start();
            let mut ending = work().await;
            drop(running);
            if let Some(admission) = admission {
                ending.persist = admission.settle(ending.persist, ttl);
            }
            let outcome = tally::of_run(&ending.persist);
            let finished = if claim.is_none() {
                let finishing = transactional::finish(&engine, hold, fingerprint, ending, guard);
                Box::pin(finishing).await
            } else if let Some(expires_at) =
                finish::complete_at_once(guard.store(), &hold, &ending.persist)
            {
                drop(guard);
                IfOwner::Done(Executed {
                    response: ending.response,
                    expires_at: Some(expires_at),
                })
            } else {
                let held = Held::new(hold, fingerprint, guard);
                Box::pin(finish::finish(held, ending)).await
            };
            counted.note(ended(outcome, &finished));
            drop((local_lock, place));
            (Ok(finished), counted)
        };
        Begun {
            idempotency: idempotency.clone(),
            operation: Box::new(operation),
            run: DetachOnDrop::new(run),
        }
    }

    pub(crate) fn idempotency(&self) -> &Idempotency {
        self.idempotency
    }

    /// The secret that names its record.
    pub(crate) fn named_by(&self) -> NamedBy {
        self.operation.named_by
    }

    /// The record that the run's own transaction would write.
    pub(crate) fn pending_record(&self) -> PendingRecord {
        PendingRecord {
            store: Arc::clone(&self.idempotency.0.store),
            hold: self.hold.clone(),
            fingerprint: self.operation.asked.fingerprint,
            is_held: self.claim.is_some(),
        }
    }

    /// How long a response is replayed that has no ttl of its own.
    #[cfg(feature = "axum")]
    pub(crate) fn ttl(&self) -> Duration {
        self.operation.ttl
    }

    /// The number of this attempt at the request.
    pub(crate) fn attempt(&self) -> u32 {
        self.claim.as_ref().map_or(1, |claim| claim.attempt)
    }

    /// The steps that earlier attempts completed.
    pub(crate) fn progress(&self) -> Progress {
        let claim = self.claim.as_ref();
        claim.map_or_else(Progress::default, |claim| claim.progress.clone())
    }

    /// Whether its own transaction completes it.
    pub(crate) fn is_transactional(&self) -> bool {
        self.local_lock.is_some()
    }
}

impl<R: Send + 'static> Begun<R> {
    /// What the request's client gets.
    pub(crate) async fn ended(&mut self, tally: &mut Tally) -> Result<Finished<R>, Rejection> {
        let ended = (&mut self.run).await;
        self.after(ended, tally).await
    }

    fn after(&self, ended: thread::Result<Counted<R>>, tally: &mut Tally) -> Ended<'_, R> {
        let Ok((finished, counted)) = ended else {
            return Either::Left(ready(Err(Rejection::Panicked)));
        };
        *tally = counted;
        match finished {
            Err(refusal) => Either::Left(ready(Err(refusal))),
            Ok(IfOwner::Done(mut executed)) => {
                executed.expires_at = executed
                    .expires_at
                    .map(|ends_at| self.operation.announced(ends_at));
                Either::Left(ready(Ok(Finished::Executed(executed))))
            }
            Ok(IfOwner::NotOwner) => {
                let (idempotency, operation) = (&self.idempotency, &*self.operation);
                Either::Right(Box::pin(async move {
                    let replay = idempotency.response_of_the_owner(operation);
                    replay.await.map(Finished::Replayed)
                }))
            }
        }
    }
}

/// What a run has come to. Only a response whose record has an end is stored.
fn ended<R>(outcome: RequestOutcome, finished: &IfOwner<Executed<R>>) -> RequestOutcome {
    match finished {
        IfOwner::NotOwner => RequestOutcome::Lost,
        IfOwner::Done(Executed {
            expires_at: None, ..
        }) if outcome == RequestOutcome::Executed => RequestOutcome::Unstored,
        IfOwner::Done(_) => outcome,
    }
}

impl Idempotency {
    /// What the client of a run that lost its key receives.
    async fn response_of_the_owner(&self, operation: &Operation) -> Result<Replay, Rejection> {
        let found = match with_store_timeout(&self.0.store, self.0.store.inspect(&operation.id))
            .await
        {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(
                    idempotency.store = self.store().name(),
                    idempotency.record = %operation.id,
                    error = %Causes(&error),
                    "a run lost its key, or the confirmation of its commit, and the stored response cannot be read",
                );
                return Err(Rejection::ResponseUnavailable);
            }
        };
        // While the secret is being changed, the owner's record may be under the other secret.
        if found.is_none()
            && let Some(other) = &operation.other
        {
            return Box::pin(self.response_of_the_owner(other)).await;
        }
        let (outcome, expires_at) = decision::response_of_the_owner(&operation.asked, found)?;
        Ok(operation.replay(outcome, expires_at))
    }
}
