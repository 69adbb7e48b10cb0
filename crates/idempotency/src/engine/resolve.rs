//! Lets an operator end a run whose owner is lost.

use bytes::Bytes;
use serde::Serialize;

use super::{Idempotency, store_timeout::with_store_timeout};
use crate::{
    options::grace,
    outcome,
    record::Record,
    store::{IfOwner, Resolution, StoreError},
};

impl Idempotency {
    /// Ends the run that this record shows, on an operator's decision, unless the run has ended or been taken over since.
    ///
    /// Where [`OnLost::Refuse`](crate::OnLost::Refuse) applies, a key whose owner was lost waits for this call:
    ///
    /// ```
    /// use idempotency::{Idempotency, IdempotencyKey, Scope, store::{IfOwner, Resolution}};
    ///
    /// /// The payment provider has no record of this transfer, so the client's next retry may run.
    /// async fn let_it_run(idempotency: &Idempotency, key: &str) -> Result<(), Box<dyn std::error::Error>> {
    ///     let id = idempotency.record_id(&Scope::principal("ann"), &IdempotencyKey::new(key)?);
    ///     let seen = idempotency.store().inspect(&id).await?.ok_or("it has expired")?;
    ///     match idempotency.resolve(&seen, Resolution::Release).await? {
    ///         IfOwner::Done(()) => Ok(()),
    ///         _ => Err("it changed meanwhile: inspect it again".into()),
    ///     }
    /// }
    /// ```
    ///
    /// [`Resolution::Complete`] stores a response for the key instead, made by
    /// [`outcome_of_value`](Self::outcome_of_value) or `outcome_of_response`. Either way the owner can store nothing more
    /// if it recovers. It may still be running, though: check first how long ago its lease expired.
    /// [`Store::list`](crate::Store::list) shows all records.
    ///
    /// # Errors
    ///
    /// If the store fails. Inspect the record again then, because the call may have taken effect.
    pub async fn resolve(
        &self,
        seen: &Record,
        resolution: Resolution,
    ) -> Result<IfOwner<()>, StoreError> {
        let resolution = match resolution {
            Resolution::Complete { outcome, ttl } => Resolution::Complete {
                outcome,
                ttl: ttl.saturating_add(grace(ttl)),
            },
            other => other,
        };
        let resolved = with_store_timeout(
            &self.0.store,
            self.0.store.resolve(&seen.id, &seen.token, resolution),
        )
        .await?;
        if resolved == IfOwner::Done(()) {
            tracing::info!(
                idempotency.store = self.store().name(),
                idempotency.record = %seen.id,
                attempt = seen.attempt,
                "an operator has ended a run",
            );
        }
        Ok(resolved)
    }

    /// The outcome that [`run`](Self::run) would have stored for this value, for [`resolve`](Self::resolve).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use idempotency::{Idempotency, store::{IfOwner, Record, Resolution, StoreError}};
    ///
    /// /// The mail server's log says that the invoice was sent, so every further call gets its receipt.
    /// async fn it_was_sent(idempotency: &Idempotency, seen: &Record) -> Result<IfOwner<()>, StoreError> {
    ///     let outcome = idempotency.outcome_of_value("receipt 1");
    ///     let ttl = Duration::from_secs(24 * 3600);
    ///     idempotency.resolve(seen, Resolution::Complete { outcome, ttl }).await
    /// }
    /// ```
    ///
    /// The value must be readable as the run's type. A value that serde cannot write or the store cannot hold becomes a
    /// tombstone, and calls get [`Rejection::NotStored`](crate::Rejection::NotStored).
    #[must_use]
    pub fn outcome_of_value<T: Serialize + ?Sized>(&self, value: &T) -> Bytes {
        outcome::of_value(value, self.store().outcome_limit())
    }
}
