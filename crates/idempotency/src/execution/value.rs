//! The end of a run under [`Idempotency::run_with`](crate::Idempotency::run_with), with the value that stands for it.

use std::{error::Error, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde::Serialize;

use super::{CommitError, Execution, OutcomeKind};
use crate::{outcome, store::Transaction};

impl Execution {
    /// Commits the transaction, the key and this value together, and returns the value: the end of work under
    /// [`run_with`](crate::Idempotency::run_with), whose type of value it has to be.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # mod example {
    /// use idempotency::{
    ///     CommitError, Execution, Fingerprint, Idempotency, IdempotencyKey, Options, Run, RunError, RunMode, Scope,
    ///     SqliteDatabase,
    /// };
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
    /// Every call with the key gets this value, also the one that has made it, whatever its work gives or does afterwards.
    ///
    /// In transactional mode the record is written here and not before. In lease mode the record of the hold is
    /// completed, if the hold is still the run's own; where the engine's store is in another database than the
    /// transaction, the hold is looked at first and the value stored after the commit, so that a crash between the two makes
    /// the next attempt do it again.
    ///
    /// What holds for transactions of [handlers](Transaction) holds here too: rows that are committed otherwise are not protected.
    /// A value that is too long for the store is given once: further calls get
    /// [`Rejection::NotStored`](crate::Rejection::NotStored).
    ///
    /// # Errors
    ///
    /// [`CommitError::Answered`] if another run was first: the transaction is rolled back, and `run_with` gives that run's value.
    /// [`CommitError::Failed`] if the transaction could not be committed, or the value not be written as JSON: nothing is kept.
    /// [`CommitError::Unknown`] if the database did not say so and does not answer now: `run_with` gives
    /// [`Rejection::CommitUnknown`](crate::Rejection::CommitUnknown). [`CommitError::Misused`] in a handler, for a second commit, or
    /// in transactional mode if the engine's store is in another database.
    pub async fn commit_value<T: Transaction, V: Serialize + Send + 'static>(
        &self,
        transaction: T,
        value: V,
    ) -> Result<V, CommitError> {
        self.commit_value_then(transaction, move |_| value).await
    }

    /// [`commit_value`](Self::commit_value) with a value that depends on what the transaction's work gives, such as the id of a new
    /// row.
    ///
    /// The function is called before the commit. Its value is returned only after it.
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
            move |given| -> BoxFuture<'static, Result<Bytes, Box<dyn Error + Send + Sync>>> {
                let value = value(given);
                // Nothing is done yet, so a value that cannot be written undoes it all.
                let outcome = match limit {
                    Some(limit) => outcome::write_value(&value, limit),
                    None => Ok(Bytes::new()),
                };
                *made.lock() = Some(value);
                Box::pin(std::future::ready(outcome.map_err(Into::into)))
            }
        };
        self.end_with(transaction, OutcomeKind::Value, Box::new(ending))
            .await?;
        let made = made.lock().take();
        made.ok_or(CommitError::Misused(
            "the transaction has not asked for its value",
        ))
    }
}
