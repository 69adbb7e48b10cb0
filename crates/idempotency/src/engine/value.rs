//! The protocol without HTTP: any work whose result serde can write.

use std::{
    error::Error,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use bytes::Bytes;
use futures_util::FutureExt;
use serde::{Serialize, de::DeserializeOwned};

use super::{Finished, Idempotency, NextAction, Origin, Persist, WorkResult};
use crate::{
    Fingerprint, IdempotencyKey, Options, Rejection, Scope, StoreError, log_text::Causes, outcome,
    outcome::StoredOutcome,
};

/// What [`Idempotency::run`] gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run<T> {
    /// The work ran now.
    Executed(T),
    /// It had run before; this is what it gave then.
    Replayed(T),
}

impl<T> Run<T> {
    /// The value, whenever it was made.
    pub fn into_value(self) -> T {
        match self {
            Self::Executed(value) | Self::Replayed(value) => value,
        }
    }
}

/// Why [`Idempotency::run`] has no value.
#[derive(Debug)]
pub enum RunError<E> {
    /// The work did not run, or not to its end, or its value does not count: see the refusal.
    Rejected(Rejection),
    /// It ran and failed; nothing is stored, and the next call with this key runs again.
    Failed(E),
}

impl Idempotency {
    /// Runs the work once for this key, and gives its value again for every further call.
    ///
    /// ```
    /// use idempotency::{Fingerprint, Idempotency, IdempotencyKey, MemoryStore, Run, Scope};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let idempotency = Idempotency::new(MemoryStore::new());
    /// let scope = Scope::principal("queue/invoices");
    /// let key = IdempotencyKey::new("message-42")?;
    /// let fingerprint = Fingerprint::of([b"send invoice 7".as_slice()]);
    ///
    /// let send = || async { Ok::<_, std::io::Error>("receipt 1".to_owned()) };
    /// let first = idempotency.run(&scope, &key, fingerprint, send()).await?;
    /// assert_eq!(first, Run::Executed("receipt 1".to_owned()));
    /// let again = idempotency.run(&scope, &key, fingerprint, send()).await?;
    /// assert_eq!(again, Run::Replayed("receipt 1".to_owned()));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The work goes on in a task of its own when the caller stops waiting.
    ///
    /// # Errors
    ///
    /// [`RunError::Failed`] with the work's own error; the key is then free. [`RunError::Rejected`] where it
    /// did not run, or panicked.
    pub async fn run<T, E>(
        &self,
        scope: &Scope,
        key: &IdempotencyKey,
        fingerprint: Fingerprint,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<Run<T>, RunError<E>>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        E: Send + 'static,
    {
        self.run_with(&Options::new(), scope, key, fingerprint, work)
            .await
    }

    /// [`run`](Self::run) with a ttl, a lease, or patience of its own.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub async fn run_with<T, E>(
        &self,
        options: &Options,
        scope: &Scope,
        key: &IdempotencyKey,
        fingerprint: Fingerprint,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
    ) -> Result<Run<T>, RunError<E>>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        E: Send + 'static,
    {
        // The work has no transaction that could carry its record.
        let options = &options.transactional(false);
        if scope.is_nobody() {
            return Err(RunError::Rejected(Rejection::NoPrincipal));
        }
        let operation = self.operation(options, scope, key, &fingerprint, Origin::default());
        let limit = self.store().outcome_limit();
        let begun = self.begin(operation, options, options.patience()).await;
        let finished = match begun.map_err(RunError::Rejected)? {
            NextAction::Run(won) => won.run(attempt(work, limit)).await,
            NextAction::Replay(replay) => Ok(Finished::Replayed(replay)),
        };
        match finished.map_err(RunError::Rejected)? {
            Finished::Executed(executed) => match executed.response {
                Some(Ok(value)) => Ok(Run::Executed(value)),
                Some(Err(error)) => Err(RunError::Failed(error)),
                None => Err(RunError::Rejected(Rejection::Panicked)),
            },
            Finished::Replayed(replay) => {
                let value = read(replay.outcome).map_err(RunError::Rejected)?;
                Ok(Run::Replayed(value))
            }
        }
    }
}

/// The work, whose failures and panics leave nothing; `None` for a panic.
async fn attempt<T: Serialize, E>(
    work: impl Future<Output = Result<T, E>>,
    limit: usize,
) -> WorkResult<Option<Result<T, E>>> {
    let response = AssertUnwindSafe(work).catch_unwind().await.ok();
    let persist = match &response {
        // Serde's code for the value is the user's, too, and the work is done all the same.
        Some(Ok(value)) => {
            let written = catch_unwind(AssertUnwindSafe(|| write(value, limit)));
            Persist::Outcome(written.unwrap_or_else(|_| outcome::tombstone(0).into()))
        }
        Some(Err(_)) | None => Persist::Nothing,
    };
    WorkResult { response, persist }
}

/// A value that serde cannot write, or the store not keep, has been made all the same: it leaves a tombstone, not a
/// free key.
pub(super) fn write<T: Serialize + ?Sized>(value: &T, limit: usize) -> Bytes {
    let mut bytes = outcome::response(128);
    match serde_json::to_writer(&mut bytes, value) {
        Ok(()) if bytes.len() <= limit => bytes.into(),
        Ok(()) => {
            tracing::error!(
                bytes = bytes.len(),
                "the value of a run is too long for the store, and so cannot be given again",
            );
            outcome::tombstone(0).into()
        }
        Err(error) => {
            tracing::error!(
                error = %Causes(&error),
                "the value of a run cannot be written, and so not be given again",
            );
            outcome::tombstone(0).into()
        }
    }
}

fn read<T: DeserializeOwned>(outcome: Bytes) -> Result<T, Rejection> {
    match StoredOutcome::read(outcome)? {
        StoredOutcome::Response(json) => serde_json::from_slice(&json)
            .map_err(|error| Rejection::Store(StoreError::unreadable(error))),
        StoredOutcome::Tombstone(_) => Err(Rejection::NotStored),
    }
}

impl<E> fmt::Display for RunError<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Rejected(_) => "the call was refused",
            Self::Failed(_) => "the work failed",
        })
    }
}

impl<E: Error + 'static> Error for RunError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Rejected(rejection) => Some(rejection),
            Self::Failed(error) => Some(error),
        }
    }
}
