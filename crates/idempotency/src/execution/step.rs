//! Steps: parts of a run whose results survive it.

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
    engine::{DetachOnDrop, Persist, RunGuard},
    record::RecordId,
    store::{IfOwner, StoreError, StoreErrorKind, transaction::PendingRecord},
};

/// Why [`Execution::step`] failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum StepError<E> {
    /// The work failed with this error. Nothing is stored, and the next attempt runs it again.
    Failed(E),
    /// Another run has taken the key over, and this one can store nothing more. The client gets that run's response.
    Lost,
    /// The work is done but its result is not stored, or a stored result cannot be read.
    Store(StoreError),
    /// The program has a bug, and the work did not run. The text says what to change.
    Misused(&'static str),
}

impl Execution {
    /// Runs a part of the work and stores its result under the key. Every further attempt gets that result without
    /// running the part again.
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
    ///     // The call to the payment provider goes here.
    ///     Ok(key)
    /// }
    /// ```
    ///
    /// The name identifies the step in this handler: change it when the step's meaning changes. The result is stored as
    /// JSON, before this returns, by one round trip to the store. It lasts until the run's response is stored. All
    /// results of a run together may be as long as the store's limit for a response. A crash can repeat work whose result
    /// is not stored yet, so give the work a [`child_key`](Self::child_key).
    ///
    /// A step that has begun runs to its end even if its future is dropped, as by a time-out around it, and its result is
    /// stored. Calling the step again waits for that result. The work therefore owns what it uses.
    ///
    /// A run that ends without a stored response, by a 5xx or a panic, also keeps its steps: the next request with the
    /// key, which must be the same request, resumes with them. An operator who frees the key drops them. Without a key
    /// the work runs, and nothing is stored.
    ///
    /// # Errors
    ///
    /// [`StepError::Failed`] with the work's own error. If the work panics, the panic continues in the caller.
    /// [`StepError::Lost`] and [`StepError::Store`]: see there; the store is retried until the lease expires.
    /// [`StepError::Misused`] in transactional mode, which has no hold to store a step under, within another step, and
    /// after a commit.
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
                "a step cannot have steps of its own: one that waits for itself would never end",
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
        // The result of a step that has begun is stored even if the handler drops the step, as a time-out around it does.
        DetachOnDrop::new(step)
            .await
            .unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Counts a step as begun, unless the run has ended.
    fn begin_step(&self, protection: &Protection) -> Result<UnderWay, &'static str> {
        if protection.is_transactional {
            return Err(
                "a transactional run has no hold to store a step under: use a lease, or no step",
            );
        }
        // Under the lock, so that the run's end either sees this step or keeps it from beginning.
        let state = protection.commit_state.lock();
        if !matches!(*state, CommitState::Open) {
            return Err("a run that has committed cannot begin a step");
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
        // Serde's code for the value is the user's too, and the work is already done.
        let written = catch_unwind(AssertUnwindSafe(|| serde_json::to_vec(&value)));
        let result = written
            .map_err(|_| StoreError::too_large("serializing the result panicked"))
            .and_then(|result| result.map_err(StoreError::too_large))
            .map_err(StepError::Store)?;
        match protection.keep(name, result.into()).await {
            Ok(IfOwner::Done(())) => Ok(value),
            Ok(IfOwner::NotOwner) => {
                let mut state = protection.commit_state.lock();
                if matches!(*state, CommitState::Open) {
                    *state = CommitState::Superseded;
                }
                Err(StepError::Lost)
            }
            Err(error) => Err(StepError::Store(error)),
        }
    }

    /// What a run persists that ends without a response: nothing, or its steps, once all that have begun have ended.
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
    /// The run inside one of whose steps the current task is.
    static WITHIN: RecordId;
}

/// The steps of a run that have begun but not ended.
#[derive(Default)]
pub(super) struct Steps {
    /// The lock of each name: a second call waits for the first one's result instead of running the work concurrently.
    turns: Mutex<HashMap<Box<str>, Arc<tokio::sync::Mutex<()>>>>,
    under_way: AtomicUsize,
    /// Notified when a step ends.
    ended: Notify,
}

/// One running step. It ends when this is dropped.
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
            // Registered before the state is read, so that no end between the two is missed.
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
    /// Stores the result together with the earlier steps' results. Steps are stored one at a time, so that none is overwritten.
    ///
    /// A result that the store does not accept now stays with the run, which stores it at its end, when the store may
    /// have recovered.
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
            Self::Store(_) => "the result of the step cannot be stored or read",
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
