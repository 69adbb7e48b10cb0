//! Parts of a run whose results outlive it.

use std::{
    collections::HashMap,
    error::Error,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::Notify;

use super::{Execution, Protection, Shared, commit::CommitState};
use crate::{
    StoreError,
    engine::{DetachOnDrop, Persist, RunGuard},
    record::RecordId,
    store::transaction::PendingRecord,
    store::{IfOwner, StoreErrorKind},
};

/// Why [`Execution::step`] has no result.
#[derive(Debug)]
#[non_exhaustive]
pub enum StepError<E> {
    /// The work failed with this. Nothing is kept, and the next attempt runs it again.
    Failed(E),
    /// Another run has taken the key over, and this one can keep nothing any more. The client gets that one's answer.
    Lost,
    /// The result is not kept, although the work is done, or one that was kept cannot be read.
    Store(StoreError),
    /// The program is wrong, and the work did not run. The text says what to change.
    Misused(&'static str),
}

impl Execution {
    /// Does a part of the run, keeps its result under the key, and gives that result to every further attempt without
    /// doing it again.
    ///
    /// ```
    /// use axum::http::StatusCode;
    /// use idempotency::{Execution, StepError, idempotent};
    ///
    /// #[idempotent(ttl_seconds = 3600)]
    /// async fn book(execution: Execution, room: String) -> Result<(StatusCode, String), StepError<StatusCode>> {
    ///     let key = execution.child_key("charge");
    ///     let receipt = execution.step("charge", charge(key)).await?;
    ///     // A crash from here on, or a failure, does not make the next attempt charge again.
    ///     Ok((StatusCode::CREATED, format!("{room}, paid with {receipt}")))
    /// }
    ///
    /// async fn charge(key: String) -> Result<String, StatusCode> {
    ///     // A call to the payment provider stands here.
    ///     Ok(key)
    /// }
    /// ```
    ///
    /// The name stands for the step in this handler: give it another one when its meaning changes. The result is kept as
    /// JSON until the run has its answer, together with that of the other steps up to what the store can keep of an
    /// answer. It is kept before this returns, by one round trip to the store; what a crash can repeat is the work whose
    /// result was not kept yet, so give it a [`child_key`](Self::child_key).
    ///
    /// A step that has begun goes on to its end, even if its future is dropped, as by a time-out around it, and its result is
    /// kept. Calling it again waits for that result. The work therefore owns what it uses.
    ///
    /// A run that ends without a stored answer, by a 5xx or a panic, keeps its steps too: the next request with the key,
    /// which must be the same one, goes on with them. An operator who frees the key drops them. Without a key the work
    /// just runs.
    ///
    /// # Errors
    ///
    /// [`StepError::Failed`] with the work's own error. A panic of the work goes on in the caller. [`StepError::Lost`],
    /// [`StepError::Store`]: see there; the store is asked for as long as the lease lives. [`StepError::Misused`] in transactional mode, which has nothing to keep a step
    /// under, within another step, and after a commit.
    pub async fn step<T, E>(
        &self,
        name: &str,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<T, StepError<E>>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        E: Send + 'static,
    {
        let Some(protection) = &self.0.protection else {
            return work.await.map_err(StepError::Failed);
        };
        if WITHIN.try_with(|run| *run == self.0.id).unwrap_or(false) {
            return Err(StepError::Misused(
                "a step has no steps of its own: one that waits for itself would never end",
            ));
        }
        let turn = protection.steps.turn(name).lock_owned().await;
        let under_way = self.begin_step(protection).map_err(StepError::Misused)?;
        let done = protection.progress.lock().await.get(name).cloned();
        if let Some(result) = done {
            return serde_json::from_slice(&result)
                .map_err(|error| StepError::Store(StoreError::unreadable(error)));
        }
        let (execution, name) = (self.clone(), name.to_owned());
        let step = WITHIN.scope(self.0.id, async move {
            let result = execution.run_step(&name, work).await;
            drop((turn, under_way));
            result
        });
        // What has begun is kept, although the handler gives its step up, as a time-out around it does.
        DetachOnDrop::new(step)
            .await
            .unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Counts a step that begins, unless the run has ended.
    fn begin_step(&self, protection: &Protection) -> Result<UnderWay, &'static str> {
        if protection.is_transactional {
            return Err(
                "a transactional run holds nothing under which a step could be kept: use a lease, or no step",
            );
        }
        // Under the lock, so that the end of the run sees either this step or none.
        let state = protection.commit_state.lock();
        if !matches!(*state, CommitState::Open) {
            return Err("a run that has committed has no more steps");
        }
        protection.steps.under_way.fetch_add(1, Ordering::SeqCst);
        Ok(UnderWay {
            execution: Arc::clone(&self.0),
            _ticket: protection.idempotency.background_ticket(),
        })
    }

    async fn run_step<T, E>(
        &self,
        name: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, StepError<E>>
    where
        T: Serialize,
    {
        let Some(protection) = &self.0.protection else {
            return work.await.map_err(StepError::Failed);
        };
        let value = work.await.map_err(StepError::Failed)?;
        // Serde's code for the value is the user's, too, and the work is done all the same.
        let written = catch_unwind(AssertUnwindSafe(|| serde_json::to_vec(&value)));
        let result = written
            .map_err(|_| StoreError::too_large("the result panicked while it was written"))
            .and_then(|result| result.map_err(StoreError::too_large))
            .map_err(StepError::Store)?;
        match protection.keep(name, result.into()).await {
            Ok(IfOwner::Done(())) => Ok(value),
            Ok(IfOwner::NotOwner) => {
                let mut state = protection.commit_state.lock();
                if matches!(*state, CommitState::Open) {
                    *state = CommitState::Answered;
                }
                Err(StepError::Lost)
            }
            Err(error) => Err(StepError::Store(error)),
        }
    }

    /// What a run leaves that ends without a response: nothing, or its steps, once all have ended that have begun.
    pub(super) async fn persist_after_failure(&self) -> Persist {
        let Some(protection) = &self.0.protection else {
            return Persist::Nothing;
        };
        if protection.steps.under_way.load(Ordering::SeqCst) == 0 {
            return self.persist_steps().await;
        }
        let execution = self.clone();
        Persist::AfterSteps(Box::pin(async move {
            if let Some(protection) = &execution.0.protection {
                protection.steps.all_ended().await;
            }
            execution.persist_steps().await
        }))
    }

    async fn persist_steps(&self) -> Persist {
        let Some(protection) = &self.0.protection else {
            return Persist::Nothing;
        };
        let progress = protection.progress.lock().await;
        if progress.is_empty() {
            Persist::Nothing
        } else {
            Persist::Steps(progress.clone())
        }
    }
}

tokio::task_local! {
    /// The run within one of whose steps this is.
    static WITHIN: RecordId;
}

/// The steps of a run that have begun and not ended.
#[derive(Default)]
pub(super) struct Steps {
    /// One step of a name at a time: the next one waits for its result instead of doing the work beside it.
    turns: Mutex<HashMap<Box<str>, Arc<tokio::sync::Mutex<()>>>>,
    under_way: AtomicUsize,
    /// One of them has ended.
    ended: Notify,
}

/// One step, until it is dropped.
struct UnderWay {
    execution: Arc<Shared>,
    _ticket: RunGuard,
}

impl Steps {
    fn turn(&self, name: &str) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(self.turns.lock().entry(name.into()).or_default())
    }

    async fn all_ended(&self) {
        loop {
            // Made before the look, so that no end between the two is missed.
            let ended = self.ended.notified();
            if self.under_way.load(Ordering::SeqCst) == 0 {
                return;
            }
            ended.await;
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(protection) = &self.execution.protection {
            protection.steps.under_way.fetch_sub(1, Ordering::SeqCst);
            protection.steps.ended.notify_waiters();
        }
    }
}

impl Protection {
    /// Keeps the result with those of the steps before it. One at a time, so that none is written over.
    ///
    /// A result that the store does not take now stays with the run, which leaves it at its end, where the store may be
    /// back.
    async fn keep(&self, name: &str, result: Bytes) -> Result<IfOwner<()>, StoreError> {
        let mut progress = self.progress.lock().await;
        progress.push(name, result);
        let PendingRecord {
            hold, fingerprint, ..
        } = &self.entry;
        let kept = self
            .idempotency
            .checkpoint(hold, fingerprint, progress.write())
            .await;
        if kept
            .as_ref()
            .is_err_and(|error| error.kind() == StoreErrorKind::TooLarge)
        {
            progress.pop();
        }
        kept
    }
}

impl<E> fmt::Display for StepError<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Failed(_) => "the step failed",
            Self::Lost => "another run has taken the key over",
            Self::Store(_) => "the result of the step cannot be kept, or not be read",
            Self::Misused(what) => what,
        })
    }
}

impl<E: Error + 'static> Error for StepError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(error) => Some(error),
            Self::Store(error) => Some(error),
            Self::Lost | Self::Misused(_) => None,
        }
    }
}
