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
///
/// It stays in one box from the claim to the end of the run, because each move of it would be a copy of half a kilobyte.
// The fields are dropped in this order: a shutdown waits for the guard, and so for the withdrawal of the claim.
pub(crate) struct ClaimedRun {
    pub(super) idempotency: Idempotency,
    pub(super) operation: Operation,
    pub(super) hold: Hold,
    /// `None` where the run's transaction will write the record.
    pub(super) claim: Option<RecordedClaim>,
    pub(super) guard: RunGuard,
    /// In transactional mode, the key's lock in this process.
    pub(super) local_lock: Option<Box<LocalLock>>,
    /// Its place among the concurrent runs.
    pub(super) place: Option<OwnedSemaphorePermit>,
    /// What its scope may take, if the key is new and scopes have limits.
    pub(super) admission: Option<Admission>,
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
    run: DetachOnDrop<Counted<R>>,
}

/// What a run comes to for its client, at once, or once another run's response is read.
type Ended<R> = Either<
    Ready<Result<Finished<R>, Rejection>>,
    BoxFuture<'static, Result<Finished<R>, Rejection>>,
>;

/// The last steps before the work, taken at once, or after a wait that hardly any run has.
type Beginning<'a> = Either<Ready<Result<(), Rejection>>, BoxFuture<'a, Result<(), Rejection>>>;

/// What comes back from a run: how it has ended, and the tally of its request.
type Counted<R> = (Result<Own<R>, Rejection>, Tally);

/// What a run has come to of its own.
enum Own<R> {
    Executed(Executed<R>),
    /// Its key is another run's.
    Lost(Box<Lost>),
}

/// With what the response of the run that has the key is read.
struct Lost {
    idempotency: Idempotency,
    operation: Operation,
}

impl ClaimedRun {
    /// Prepares the run, which begins when it is awaited, and stores what the work leaves.
    // The work is created where it is awaited, because a future that is passed as an argument takes up space twice.
    pub(crate) fn start<R, W>(
        mut self: Box<Self>,
        tally: &mut Tally,
        work: impl FnOnce() -> W + Send + 'static,
    ) -> Begun<R>
    where
        R: Send + 'static,
        W: Future<Output = WorkResult<R>> + Send + 'static,
    {
        tally.record(self.operation.id);
        let mut counted = tally.hand_over();
        let run = async move {
            if let Err(refusal) = self.begin().await {
                return (Err(refusal), counted);
            }
            let running = Running::start();
            let mut ending = work().await;
            drop(running);
            if let Some(admission) = self.admission.take() {
                ending.persist = admission.settle(ending.persist, self.hold.ttl);
            }
            let outcome = tally::of_run(&ending.persist);
            // Without a claim its own transaction writes the record.
            let completed = self.claim.as_ref().and_then(|_| {
                finish::complete_at_once(self.guard.store(), &self.hold, &ending.persist)
            });
            let Some(ends_at) = completed else {
                let (finished, lost, held) = Box::pin(self.finish(ending)).await;
                counted.note(ended(outcome, &finished));
                drop(held);
                let own = match finished {
                    IfOwner::Done(executed) => Own::Executed(executed.announced(&lost.operation)),
                    IfOwner::NotOwner => Own::Lost(lost),
                };
                return (Ok(own), counted);
            };
            counted.note(outcome);
            let executed = Executed {
                response: ending.response,
                expires_at: Some(ends_at),
            };
            (
                Ok(Own::Executed(executed.announced(&self.operation))),
                counted,
            )
        };
        Begun {
            run: DetachOnDrop::new(run),
        }
    }

    /// Takes the last steps before the work begins. If one fails, the claim is withdrawn.
    fn begin(&mut self) -> Beginning<'_> {
        let Some(claim) = &self.claim else {
            self.use_up();
            return Either::Left(ready(Ok(())));
        };
        let (attempt, sent_at) = (claim.attempt, claim.sent_at);
        let progress = claim.progress.write();
        let fingerprint = self.operation.asked.fingerprint;
        let wakes = self
            .guard
            .hold(self.hold.clone(), fingerprint, attempt, progress, sent_at);
        if !wakes && self.hold.is_fresh(sent_at) {
            self.use_up();
            return Either::Left(ready(Ok(())));
        }
        Either::Right(Box::pin(async move {
            if wakes {
                tokio::task::yield_now().await;
            }
            // The last call before the work begins.
            if !self.hold.is_fresh(sent_at) {
                let refreshed = self
                    .idempotency
                    .refresh(&self.hold, &fingerprint, Some(sent_at));
                if refreshed.await? == IfOwner::NotOwner {
                    return Err(Rejection::InProgress);
                }
            }
            self.use_up();
            Ok(())
        }))
    }

    /// Leaves the hold, and what the scope may take, to the work, which begins now.
    fn use_up(&mut self) {
        let withdrawal = self
            .claim
            .as_mut()
            .and_then(|claim| claim.withdrawal.take());
        withdrawal.into_iter().for_each(Withdrawal::cancel);
        self.admission.iter_mut().for_each(Admission::use_up);
    }

    /// Ends a run that is not completed without waiting. Its locks are released once it is counted.
    async fn finish<R>(
        self: Box<Self>,
        ending: WorkResult<R>,
    ) -> (IfOwner<Executed<R>>, Box<Lost>, impl Send) {
        let Self {
            idempotency,
            operation,
            hold,
            claim,
            guard,
            local_lock,
            place,
            admission: _,
        } = *self;
        let fingerprint = operation.asked.fingerprint;
        let finished = if claim.is_some() {
            let held = Held::new(hold, fingerprint, guard);
            finish::finish(held, ending).await
        } else {
            transactional::finish(&idempotency, hold, fingerprint, ending, guard).await
        };
        let lost = Box::new(Lost {
            idempotency,
            operation,
        });
        (finished, lost, (local_lock, place))
    }

    pub(crate) fn idempotency(&self) -> &Idempotency {
        &self.idempotency
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
        after(ended, tally).await
    }
}

fn after<R: Send + 'static>(ended: thread::Result<Counted<R>>, tally: &mut Tally) -> Ended<R> {
    let Ok((own, counted)) = ended else {
        return Either::Left(ready(Err(Rejection::Panicked)));
    };
    *tally = counted;
    match own {
        Err(refusal) => Either::Left(ready(Err(refusal))),
        Ok(Own::Executed(executed)) => Either::Left(ready(Ok(Finished::Executed(executed)))),
        Ok(Own::Lost(lost)) => Either::Right(Box::pin(async move {
            let replay = lost.idempotency.response_of_the_owner(&lost.operation);
            replay.await.map(Finished::Replayed)
        })),
    }
}

impl<R> Executed<R> {
    /// The same, with the expiry that its client is told.
    fn announced(mut self, operation: &Operation) -> Self {
        self.expires_at = self.expires_at.map(|ends_at| operation.announced(ends_at));
        self
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
