//! How an operator ends what its owner will not.

use bytes::Bytes;
use serde::Serialize;

use super::{Idempotency, store_timeout::with_store_timeout};
use crate::{
    StoreError,
    options::grace,
    outcome,
    record::Record,
    store::{IfOwner, Resolution},
};

impl Idempotency {
    /// Ends the run that this record shows, on an operator's word, unless it has ended or somebody took it over since.
    ///
    /// Where [`OnLost::Refuse`](crate::OnLost::Refuse) holds, a key whose owner is lost waits for this:
    ///
    /// ```
    /// use idempotency::{Idempotency, IdempotencyKey, Scope, store::{IfOwner, Resolution}};
    ///
    /// /// The payment provider knows nothing of this transfer, so the client's next retry shall run.
    /// async fn let_it_run(idempotency: &Idempotency, key: &str) -> Result<(), Box<dyn std::error::Error>> {
    ///     let id = idempotency.record_id(&Scope::principal("ann"), &IdempotencyKey::new(key)?);
    ///     let seen = idempotency.store().inspect(&id).await?.ok_or("it is forgotten")?;
    ///     match idempotency.resolve(&seen, Resolution::Release).await? {
    ///         IfOwner::Done(()) => Ok(()),
    ///         IfOwner::NotOwner => Err("it has gone on meanwhile: look again".into()),
    ///     }
    /// }
    /// ```
    ///
    /// [`Resolution::Complete`] gives the key an answer instead, made by [`outcome_of_value`](Self::outcome_of_value) or
    /// `outcome_of_response`. Either way the owner can store nothing any more should it come back, but it may still be
    /// running: look first how long ago its lease has lapsed. [`Store::list`](crate::Store::list) shows all records.
    ///
    /// # Errors
    ///
    /// If the store cannot answer; then look again, because the run may have been ended.
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

    /// What [`run`](Self::run) would have kept of this value: an outcome to [`resolve`](Self::resolve) with.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use idempotency::{Idempotency, StoreError, store::{IfOwner, Record, Resolution}};
    ///
    /// /// The invoice was sent, as the mail server's log says, so every further call shall get its receipt.
    /// async fn it_was_sent(idempotency: &Idempotency, seen: &Record) -> Result<IfOwner<()>, StoreError> {
    ///     let outcome = idempotency.outcome_of_value("receipt 1");
    ///     let ttl = Duration::from_secs(24 * 3600);
    ///     idempotency.resolve(seen, Resolution::Complete { outcome, ttl }).await
    /// }
    /// ```
    ///
    /// The value has to be one that the run's type can be read from. Of one that serde cannot write or the store not
    /// keep, a tombstone is made, and calls get [`Rejection::NotStored`](crate::Rejection::NotStored).
    #[must_use]
    pub fn outcome_of_value<T: Serialize + ?Sized>(&self, value: &T) -> Bytes {
        outcome::of_value(value, self.store().outcome_limit())
    }
}
