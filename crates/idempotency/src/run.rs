//! The protocol without HTTP: any work whose result serde can write.

use std::{
    error::Error,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use bytes::Bytes;
use futures_util::FutureExt;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Execution, Fingerprint, Idempotency, IdempotencyKey, Options, Rejection, RunMode, Scope,
    StoreError,
    engine::{Finished, NextAction, Origin, Persist, WorkResult},
    execution::{Ended, OutcomeKind},
    log_text::Causes,
    outcome,
    outcome::StoredOutcome,
};

/// What [`Idempotency::run`] and [`run_with`](Idempotency::run_with) give back.
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

/// Why [`Idempotency::run`] or [`run_with`](Idempotency::run_with) has no value.
#[derive(Debug)]
pub enum RunError<E> {
    /// The work did not run, or not to its end, or its value does not count: see the refusal.
    Rejected(Rejection),
    /// It ran and failed. No value is stored, and the next call with this key runs again, with the steps that were done.
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
    /// It goes by a lease, of 30 seconds unless the engine has another default: one run at a time, whose value is stored after the work. If the process dies between the
    /// two, the next call does the work again. Work that must not be done twice, such as a row in a database, goes by
    /// [`run_with`](Self::run_with), which gives it an [`Execution`].
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
        let options = Options::new().mode(RunMode::Lease);
        self.run_with(&options, scope, key, fingerprint, |_| work)
            .await
    }

    /// [`run`](Self::run) with options, for work that ends itself by a commit, does steps, or calls other services.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use idempotency::{
    ///     Execution, Fingerprint, Idempotency, IdempotencyKey, OnDuplicate, Options, Run, RunError, Scope, StepError,
    /// };
    ///
    /// const OPTIONS: Options = Options::new()
    ///     .ttl(Duration::from_secs(3600))
    ///     .on_duplicate(OnDuplicate::Wait);
    ///
    /// /// Charges an order once. The provider gets the same key from every attempt.
    /// async fn handle(
    ///     idempotency: &Idempotency,
    ///     message: &IdempotencyKey,
    ///     order: u32,
    /// ) -> Result<Run<String>, RunError<StepError<std::io::Error>>> {
    ///     let scope = Scope::principal("queue/orders");
    ///     let fingerprint = Fingerprint::of([b"charge".as_slice(), &order.to_be_bytes()]);
    ///     let work = async move |execution: Execution| {
    ///         let key = execution.child_key("charge");
    ///         execution.step("charge", charge(key, order)).await
    ///     };
    ///     idempotency.run_with(&OPTIONS, &scope, message, fingerprint, work).await
    /// }
    ///
    /// async fn charge(key: String, order: u32) -> Result<String, std::io::Error> {
    ///     // A call to the payment provider stands here.
    ///     Ok(format!("order {order}, charged under {key}"))
    /// }
    /// ```
    ///
    /// # Work that is done exactly once
    ///
    /// Work whose effects are rows in the store's own database ends by [`Execution::commit_value`], which makes rows, key and value
    /// one commit. With [`RunMode::Transactional`] nothing is written before: they happen exactly once, whatever is killed whenever.
    /// Work that then succeeds without a commit is refused by [`Rejection::NotCommitted`], and nothing is stored. Under a lease,
    /// which is the default, a commit by a run that has lost its key is rolled back, and steps are kept; if the process dies,
    /// the key stays taken until the lease is over.
    ///
    /// After a commit the value that was committed counts, whatever the work gives.
    ///
    /// What the options say nothing of is as [`with_defaults`](crate::IdempotencyBuilder::with_defaults) has it.
    /// Of the [`Options`], `required`, `keep`, `scope` and `fingerprint` are about requests and mean nothing here.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run). In addition, [`Rejection::NotCommitted`], and [`Rejection::CommitUnknown`] where the database does
    /// not say whether it has committed: call again with the same key. An error of the work after its commit, or after another run
    /// was first, is dropped: the value that stands is given in its place.
    pub async fn run_with<T, E, W>(
        &self,
        options: &Options,
        scope: &Scope,
        key: &IdempotencyKey,
        fingerprint: Fingerprint,
        work: impl FnOnce(Execution) -> W + Send + 'static,
    ) -> Result<Run<T>, RunError<E>>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        E: Send + 'static,
        W: Future<Output = Result<T, E>> + Send + 'static,
    {
        if scope.is_nobody() {
            return Err(RunError::Rejected(Rejection::NoPrincipal));
        }
        let options = &self.effective(options);
        let operation = self.operation(options, scope, key, &fingerprint, &Origin::default());
        let limit = self.store().outcome_limit();
        let begun = self.begin(operation, options, options.patience()).await;
        let finished = match begun.map_err(RunError::Rejected)? {
            NextAction::Run(claimed) => {
                let execution = Execution::of(&claimed, OutcomeKind::Value);
                claimed.run(attempt(execution, work, limit)).await
            }
            NextAction::Replay(replay) => Ok(Finished::Replayed(replay)),
        };
        match finished.map_err(RunError::Rejected)? {
            Finished::Executed(executed) => executed.response.map(Run::Executed),
            Finished::Replayed(replay) => {
                let value = read(replay.outcome).map_err(RunError::Rejected)?;
                Ok(Run::Replayed(value))
            }
        }
    }
}

/// The work, inside the engine's task: what its caller gets, and what is kept.
async fn attempt<T, E, W>(
    execution: Execution,
    work: impl FnOnce(Execution) -> W,
    limit: usize,
) -> WorkResult<Result<T, RunError<E>>>
where
    T: Serialize + DeserializeOwned,
    W: Future<Output = Result<T, E>>,
{
    let called = {
        let execution = execution.clone();
        // Called in here, because the closure can panic as well.
        async move { work(execution).await }
    };
    let made = AssertUnwindSafe(called).catch_unwind().await;
    match execution.ended().await {
        Ended::Open => {
            let WorkResult { response, persist } =
                decide(made, execution.is_transactional(), limit);
            WorkResult {
                response,
                persist: execution.with_steps(persist).await,
            }
        }
        Ended::Committed { outcome, persist } => WorkResult {
            response: committed(outcome, made).map_err(RunError::Rejected),
            persist,
        },
        Ended::Superseded => WorkResult {
            // Its caller gets the value that stands, or hears why there is none.
            response: Err(RunError::Rejected(Rejection::ResponseUnavailable)),
            persist: Persist::Superseded,
        },
        Ended::CommitUnknown { is_shared } => WorkResult {
            response: Err(RunError::Rejected(Rejection::CommitUnknown { is_shared })),
            persist: Persist::OutcomeUnknown,
        },
    }
}

/// What is kept of work that has not ended itself: of failures and panics nothing.
fn decide<T: Serialize, E>(
    made: thread::Result<Result<T, E>>,
    is_transactional: bool,
    limit: usize,
) -> WorkResult<Result<T, RunError<E>>> {
    let (response, persist) = match made {
        Ok(Ok(_)) if is_transactional => {
            tracing::error!(
                "the work of a transactional run has succeeded without a commit, so nothing is stored: it ends with \
                 execution.commit_value(transaction, value)",
            );
            let rejection = Rejection::NotCommitted;
            (Err(RunError::Rejected(rejection)), Persist::Nothing)
        }
        Ok(Ok(value)) => {
            // Serde's code for the value is the user's, too, and the work is done all the same.
            let written = catch_unwind(AssertUnwindSafe(|| outcome::of_value(&value, limit)));
            let outcome = written.unwrap_or_else(|_| outcome::tombstone(0).into());
            (Ok(value), Persist::Outcome(outcome))
        }
        Ok(Err(error)) => (Err(RunError::Failed(error)), Persist::Nothing),
        Err(_) => (
            Err(RunError::Rejected(Rejection::Panicked)),
            Persist::Nothing,
        ),
    };
    WorkResult { response, persist }
}

/// The value that the run has committed, as every retry gets it. One that cannot be given again is given once, as the work gave it.
fn committed<T: DeserializeOwned, E>(
    outcome: Bytes,
    made: thread::Result<Result<T, E>>,
) -> Result<T, Rejection> {
    // Serde's code for the value is the user's, too.
    let value = catch_unwind(|| read(outcome)).unwrap_or(Err(Rejection::Panicked));
    if let Err(Rejection::Store(error)) = &value {
        tracing::error!(
            error = %Causes(error),
            "the value that a run has committed cannot be read as what its work gives, and so not be given again",
        );
    }
    value.or_else(|rejection| made.ok().and_then(Result::ok).ok_or(rejection))
}

fn read<T: DeserializeOwned>(outcome: Bytes) -> Result<T, Rejection> {
    match StoredOutcome::read(outcome)? {
        StoredOutcome::Response(json) => serde_json::from_slice(&json)
            .map_err(|error| Rejection::Store(StoreError::unreadable(error))),
        StoredOutcome::Tombstone(_) => Err(Rejection::NotStored),
        StoredOutcome::Erased => Err(Rejection::Erased),
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
