//! The right to run, and the run itself.

use std::sync::Arc;
#[cfg(feature = "axum")]
use std::time::Duration;

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
    store::transaction::PendingRecord,
    store::{Hold, IfOwner},
};

/// The right to run, with all that the run needs. A claim whose run does not begin is withdrawn when this is dropped.
pub(crate) struct ClaimedRun<'a> {
    pub(super) idempotency: &'a Idempotency,
    pub(super) operation: Operation,
    pub(super) hold: Hold,
    /// `None` where the run's transaction will write the record.
    pub(super) claim: Option<RecordedClaim>,
    /// In transactional mode, the key's lock in this process.
    pub(super) local_lock: Option<LocalLock>,
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

impl ClaimedRun<'_> {
    /// Runs the work, and stores what it leaves.
    ///
    /// Dropping this future does not stop the work, which then continues in a task of its own.
    pub(crate) async fn run<R, W>(
        self,
        tally: &mut Tally,
        work: W,
    ) -> Result<Finished<R>, Rejection>
    where
        R: Send + 'static,
        W: Future<Output = WorkResult<R>> + Send + 'static,
    {
        let Self {
            idempotency,
            operation,
            hold,
            claim,
            local_lock,
            place,
            admission,
            mut guard,
        } = self;
        let fingerprint = operation.asked.fingerprint;
        let engine = idempotency.clone();
        tally.record(operation.id);
        let mut counted = tally.hand_over();
        let ttl = hold.ttl;
        let count = move |mut ending: WorkResult<R>| {
            if let Some(admission) = admission {
                ending.persist = admission.settle(ending.persist, ttl);
            }
            ending
        };
        let run = async move {
            let Some(claim) = claim else {
                let running = Running::start();
                let ending = count(work.await);
                drop(running);
                let outcome = tally::of_run(&ending.persist);
                let finished =
                    transactional::finish(&engine, hold, fingerprint, ending, guard).await;
                counted.note(ended(outcome, &finished));
                drop((local_lock, place));
                return (Ok(finished), counted);
            };
            let RecordedClaim {
                attempt,
                progress,
                sent_at,
                withdrawal,
            } = claim;
            guard
                .hold(
                    hold.clone(),
                    fingerprint,
                    attempt,
                    progress.write(),
                    sent_at,
                )
                .await;
            // The last call before the work begins. If it fails, the claim is withdrawn.
            match engine.refresh(&hold, &fingerprint, Some(sent_at)).await {
                Ok(IfOwner::Done(_)) => {}
                Ok(IfOwner::NotOwner) => return (Err(Rejection::InProgress), counted),
                Err(error) => return (Err(error.into()), counted),
            }
            withdrawal.into_iter().for_each(Withdrawal::cancel);
            let running = Running::start();
            let ending = count(work.await);
            drop(running);
            let outcome = tally::of_run(&ending.persist);
            let held = Held::new(hold, fingerprint, guard);
            let finished = finish::finish(held, ending).await;
            counted.note(ended(outcome, &finished));
            drop((local_lock, place));
            (Ok(finished), counted)
        };
        let Ok((finished, counted)) = DetachOnDrop::new(run).await else {
            return Err(Rejection::Panicked);
        };
        *tally = counted;
        match finished {
            Err(refusal) => Err(refusal),
            Ok(IfOwner::Done(mut executed)) => {
                executed.expires_at = executed
                    .expires_at
                    .map(|ends_at| operation.announced(ends_at));
                Ok(Finished::Executed(executed))
            }
            Ok(IfOwner::NotOwner) => {
                let replay = Box::pin(idempotency.response_of_the_owner(operation)).await?;
                Ok(Finished::Replayed(replay))
            }
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
    async fn response_of_the_owner(&self, operation: Operation) -> Result<Replay, Rejection> {
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
            && let Some(other) = operation.other
        {
            return Box::pin(self.response_of_the_owner(*other)).await;
        }
        let (outcome, expires_at) = decision::response_of_the_owner(&operation.asked, found)?;
        Ok(operation.replay(outcome, expires_at))
    }
}
