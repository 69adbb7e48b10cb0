//! Parts of a run whose results outlive it.

use std::{error::Error, fmt};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{Execution, Protection, commit::Ending};
use crate::{Fenced, StoreError};

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
    /// A run that ends without a stored answer, by a 5xx or a panic, keeps its steps too: the next request with the key,
    /// which must be the same one, goes on with them. An operator who frees the key drops them. Without a key the work
    /// just runs.
    ///
    /// # Errors
    ///
    /// [`StepError::Failed`] with the work's own error. [`StepError::Lost`], [`StepError::Store`]: see there; the store is
    /// asked for as long as the lease lives. [`StepError::Misused`] in transactional mode, which has nothing to keep a step
    /// under, and after a commit.
    pub async fn step<T, E>(
        &self,
        name: &str,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, StepError<E>>
    where
        T: Serialize + DeserializeOwned,
    {
        let Some(protection) = &self.0.protection else {
            return work.await.map_err(StepError::Failed);
        };
        protection.may_step().map_err(StepError::Misused)?;
        let done = protection.progress.lock().await.get(name).cloned();
        if let Some(result) = done {
            return serde_json::from_slice(&result)
                .map_err(|error| StepError::Store(StoreError::unreadable(error)));
        }
        let value = work.await.map_err(StepError::Failed)?;
        let result = serde_json::to_vec(&value)
            .map_err(|error| StepError::Store(StoreError::too_large(error)))?;
        match protection.keep(name, result.into()).await {
            Ok(Fenced::Done(())) => Ok(value),
            Ok(Fenced::Lost) => {
                *protection.ending.lock() = Ending::Answered;
                Err(StepError::Lost)
            }
            Err(error) => Err(StepError::Store(error)),
        }
    }
}

impl Protection {
    fn may_step(&self) -> Result<(), &'static str> {
        if self.is_transactional {
            return Err(
                "a transactional handler holds nothing under which a step could be kept: use a lease, or no step",
            );
        }
        match *self.ending.lock() {
            Ending::Open => Ok(()),
            _ => Err("a run that has committed has no more steps"),
        }
    }

    /// Keeps the result with those of the steps before it. One at a time, so that none is written over.
    async fn keep(&self, name: &str, result: Bytes) -> Result<Fenced<()>, StoreError> {
        let mut progress = self.progress.lock().await;
        let mut next = progress.clone();
        next.push(name, result);
        let kept = self.idempotency.checkpoint(&self.entry.hold, next.write());
        let fenced = kept.await?;
        *progress = next;
        Ok(fenced)
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
