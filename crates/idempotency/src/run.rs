//! The protocol without HTTP, for any work whose result serde can write.

use std::{
    error::Error,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
};

use bytes::Bytes;
use futures_util::FutureExt;
use serde::{Serialize, de::DeserializeOwned};
use tracing::Instrument;

use crate::{
    Execution, Fingerprint, Idempotency, IdempotencyKey, Options, Rejection, Scope,
    engine::{Finished, NextAction, Origin, Persist, RequestOutcome, Tally, WorkResult},
    execution::{Ended, OutcomeKind},
    log_text::Causes,
    options::RunMode,
    outcome::{self, StoredOutcome},
    store::StoreError,
};

/// The value that [`Idempotency::run`] or [`run_with`](Idempotency::run_with) returns, and whether the work ran for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Run<T> {
    /// The work ran now.
    Executed(T),
    /// The work ran before, and this is the value that it returned then.
    Replayed(T),
}

impl<T> Run<T> {
    /// The value, executed or replayed.
    pub fn into_value(self) -> T {
        match self {
            Self::Executed(value) | Self::Replayed(value) => value,
        }
    }
}

/// Why [`Idempotency::run`] or [`run_with`](Idempotency::run_with) returned no value.
#[derive(Debug)]
#[non_exhaustive]
pub enum RunError<E> {
    /// The work did not run, did not finish, or its value is not authoritative: the rejection says which.
    Rejected(Rejection),
    /// The work ran and failed. No value is stored. The next call with this key runs it again, with the results of the
    /// steps that were completed.
    Failed(E),
}

impl Idempotency {
    /// Runs the work once for this key, and returns its value again for every further call.
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
    /// It runs under a lease, of 30 seconds unless the engine has another default: one run at a time, whose value is
    /// stored after the work. If the process dies between the two, the next call runs the work again. For work that must
    /// not run twice, such as inserting a row into a database, use [`run_with`](Self::run_with), which passes the work an
    /// [`Execution`].
    ///
    /// If the caller stops waiting, the work continues in a task of its own.
    ///
    /// # Errors
    ///
    /// [`RunError::Failed`] with the work's own error; the key is then free. [`RunError::Rejected`] if the work did not
    /// run, or panicked.
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

    /// [`run`](Self::run) with options, for work that commits a transaction, has steps, or calls other services.
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
    ///     // This is where the payment provider would be called.
    ///     Ok(format!("order {order}, charged under {key}"))
    /// }
    /// ```
    ///
    /// # Exactly once
    ///
    /// Work whose effects are rows in the store's own database ends by [`Execution::commit_value`], which commits rows,
    /// key and value together. With [`RunMode::Transactional`] nothing is written before that commit, so the effects
    /// happen exactly once, whichever process is killed at whatever time. Work that succeeds without a commit then gets
    /// [`Rejection::NotCommitted`], and nothing is stored. Under a lease, which is the default, a commit by a run that
    /// has lost its key is rolled back, and steps are stored. If the process dies, the key stays taken until the lease
    /// expires.
    ///
    /// After a commit the committed value counts, whatever the work returns.
    ///
    /// Options that are not set come from [`with_defaults`](crate::IdempotencyBuilder::with_defaults). Of the
    /// [`Options`], `required`, `keep`, `scope`, `fingerprint` and `key` concern requests and have no effect here.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run). In addition, [`Rejection::NotCommitted`], and [`Rejection::CommitUnknown`] if the database
    /// does not say whether it committed: call again with the same key. If the work fails after its commit, or after
    /// another run was first, its error is dropped, and the stored value is returned.
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
        let mut tally = Tally::start(self);
        let span = tally.span();
        let run = async {
            if scope.is_nobody() {
                return Err(RunError::Rejected(Rejection::NoPrincipal));
            }
            let options = &self.effective(options);
            let operation = self.operation(
                options,
                scope,
                key.clone(),
                &fingerprint,
                &Origin::default(),
            );
            tally.record(operation.id);
            let limit = self.store().outcome_limit();
            let begun = self.begin(operation, options, options.patience()).await;
            let finished = match begun.map_err(RunError::Rejected)? {
                NextAction::Run(claimed) => {
                    let execution = Execution::of(&claimed, OutcomeKind::Value);
                    let work = move || attempt(execution, work, limit);
                    let mut begun = claimed.start(&mut tally, work);
                    begun.ended(&mut tally).await
                }
                NextAction::Replay(replay) => Ok(Finished::Replayed(replay)),
            };
            match finished.map_err(RunError::Rejected)? {
                Finished::Executed(executed) => executed.response.map(Run::Executed),
                Finished::Replayed(replay) => {
                    tally.record(replay.record);
                    let value = read(replay.outcome).map_err(RunError::Rejected)?;
                    tally.note(RequestOutcome::Replayed);
                    Ok(Run::Replayed(value))
                }
            }
        };
        let ran = run.instrument(span).await;
        if let Err(RunError::Rejected(rejection)) = &ran {
            tally.note(RequestOutcome::from(rejection));
        }
        ran
    }
}

/// The work, inside the engine's task: its result for the caller, and what is stored.
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
        // Called inside the guard, because the closure can panic as well.
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
            // The caller gets the stored value, or the reason why there is none.
            response: Err(RunError::Rejected(Rejection::ResponseUnavailable)),
            persist: Persist::Superseded,
        },
        Ended::CommitUnknown { is_shared } => WorkResult {
            response: Err(RunError::Rejected(Rejection::CommitUnknown { is_shared })),
            persist: Persist::OutcomeUnknown,
        },
    }
}

/// What is stored for work that did not end itself: nothing for failures and panics.
fn decide<T: Serialize, E>(
    made: thread::Result<Result<T, E>>,
    is_transactional: bool,
    limit: usize,
) -> WorkResult<Result<T, RunError<E>>> {
    let (response, persist) = match made {
        Ok(Ok(_)) if is_transactional => {
            tracing::error!(
                "the work of a transactional run succeeded without a commit, so nothing is stored: end it with \
                 execution.commit_value(transaction, value)",
            );
            let rejection = Rejection::NotCommitted;
            (Err(RunError::Rejected(rejection)), Persist::Nothing)
        }
        Ok(Ok(value)) => {
            // Serde's code for the value is the user's too, and the work is already done.
            let written = catch_unwind(AssertUnwindSafe(|| outcome::of_value(&value, limit)));
            let outcome = written.unwrap_or_else(|_| outcome::tombstone(0).into());
            (Ok(value), Persist::Outcome(outcome.into()))
        }
        Ok(Err(error)) => (Err(RunError::Failed(error)), Persist::Nothing),
        Err(_) => (
            Err(RunError::Rejected(Rejection::Panicked)),
            Persist::Nothing,
        ),
    };
    WorkResult { response, persist }
}

/// The value that the run committed, as every retry gets it. A value that cannot be read back is returned once, as the
/// work made it.
fn committed<T: DeserializeOwned, E>(
    outcome: Bytes,
    made: thread::Result<Result<T, E>>,
) -> Result<T, Rejection> {
    // Serde's code for the value is the user's too.
    let value = catch_unwind(|| read(outcome)).unwrap_or(Err(Rejection::Panicked));
    if let Err(Rejection::Store(error)) = &value {
        tracing::error!(
            error = %Causes(error),
            "the value that a run committed cannot be read as the type that its work returns, so it cannot be replayed",
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
        StoredOutcome::ReplayValue(_) => Err(Rejection::Store(StoreError::unreadable(
            "a handler stored it, to rebuild its response from",
        ))),
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
