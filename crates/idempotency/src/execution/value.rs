//! Ends a run under [`Idempotency::run_with`](crate::Idempotency::run_with) with its value.

use std::{error::Error, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde::Serialize;

use super::{CommitError, Execution, OutcomeKind};
use crate::{
    outcome,
    store::{Transaction, transaction::NewOutcome},
};

impl Execution {
    /// Commits the transaction, the key and this value together, and returns the value. Use it at the end of work under
    /// [`run_with`](crate::Idempotency::run_with); the value's type must be the one that the work returns.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # mod example {
    /// use idempotency::{CommitError, Execution, Fingerprint, Idempotency, IdempotencyKey, Options, Run, RunError, Scope, SqliteDatabase, options::RunMode};
    ///
    /// const OPTIONS: Options = Options::new().mode(RunMode::Transactional);
    ///
    /// /// Makes one invoice for each message, however often the queue delivers it. Invoices and keys are in one file.
    /// async fn handle(
    ///     idempotency: &Idempotency,
    ///     database: SqliteDatabase,
    ///     message: &IdempotencyKey,
    ///     order: u32,
    /// ) -> Result<Run<String>, RunError<CommitError>> {
    ///     let scope = Scope::principal("queue/orders");
    ///     let fingerprint = Fingerprint::of([b"invoice".as_slice(), &order.to_be_bytes()]);
    ///     let work = async move |execution: Execution| {
    ///         let insert = database.transaction(move |connection| {
    ///             connection.execute("insert into invoices (customer_order) values (?1)", [order])
    ///         });
    ///         execution.commit_value(insert, format!("invoice for order {order}")).await
    ///     };
    ///     idempotency.run_with(&OPTIONS, &scope, message, fingerprint, work).await
    /// }
    /// # }
    /// ```
    ///
    /// Every call with the key gets this value, including the call that made it, whatever the work returns or does
    /// afterwards.
    ///
    /// In transactional mode the record is first written by this commit. Under a lease the commit completes the run's
    /// hold, if the run still owns it. If the engine's store is in a different database than the transaction, the run
    /// renews its hold first and stores the value after the commit; a crash between the two makes the next attempt do the
    /// work again.
    ///
    /// The rules for transactions of [handlers](Transaction) apply here too: rows that are committed in another way are
    /// not protected. A value that is too long for the store is returned once: further calls get
    /// [`Rejection::NotStored`](crate::Rejection::NotStored).
    ///
    /// # Errors
    ///
    /// [`CommitError::Superseded`] if another run was first: the transaction is rolled back, and `run_with` returns that
    /// run's value. [`CommitError::Failed`] if the transaction could not be committed, or the value could not be written
    /// as JSON: nothing is committed. [`CommitError::Unknown`] if the database did not confirm the commit and is
    /// unreachable now: `run_with` returns [`Rejection::CommitUnknown`](crate::Rejection::CommitUnknown).
    /// [`CommitError::Misused`] in a handler, for a second commit, or in transactional mode if the engine's store is in
    /// another database.
    pub async fn commit_value<T: Transaction, V: Serialize + Send + 'static>(
        &self,
        transaction: T,
        value: V,
    ) -> Result<V, CommitError> {
        self.commit_value_then(transaction, move |_| value).await
    }

    /// Like [`commit_value`](Self::commit_value), for a value that depends on the transaction's result, such as the id of
    /// a new row.
    ///
    /// The function is called before the commit. Its value is returned only after the commit.
    ///
    /// # Errors
    ///
    /// As [`commit_value`](Self::commit_value).
    pub async fn commit_value_then<T: Transaction, V: Serialize + Send + 'static>(
        &self,
        transaction: T,
        value: impl FnOnce(T::Value) -> V + Send + 'static,
    ) -> Result<V, CommitError> {
        let limit = self.engine().map(|engine| engine.store().outcome_limit());
        let made = Arc::new(Mutex::new(None));
        let ending = {
            let made = Arc::clone(&made);
            move |given| -> BoxFuture<'static, Result<NewOutcome, Box<dyn Error + Send + Sync>>> {
                let value = value(given);
                // Nothing is committed yet, so a value that cannot be written undoes everything.
                let outcome = match limit {
                    Some(limit) => outcome::write_value(&value, limit),
                    None => Ok(Bytes::new()),
                };
                *made.lock() = Some(value);
                Box::pin(std::future::ready(
                    outcome.map(Into::into).map_err(Into::into),
                ))
            }
        };
        self.end_with(transaction, OutcomeKind::Value, Box::new(ending))
            .await?;
        let made = made.lock().take();
        made.ok_or(CommitError::Misused(
            "the transaction did not request its value",
        ))
    }
}
