//! Lets an operator erase the response of a completed run, and free its key.

use std::{any::Any, error::Error, fmt, str::FromStr};

use super::{Idempotency, store_timeout::with_store_timeout};
use crate::{
    Fingerprint, Store, outcome,
    record::{Phase, Record, RecordId},
    store::{IfOwner, Resolution, StoreError, sealed::SealedStore},
};

/// The result of an operator's change to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyChange {
    /// The change was made.
    Made,
    /// There is no record, so there is nothing to change.
    Free,
    /// A run holds the key, or held it and is lost. Nothing was changed: wait for the run, or
    /// [`resolve`](Idempotency::resolve) it first.
    Held,
    /// The record is not the one that was seen. Nothing was changed: check the key again.
    Changed,
}

/// What would be lost by freeing a key, and the confirmation for the second call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FreeRequest {
    /// The record that would be lost. `stored_response` or [`stored_value`](Idempotency::stored_value) reads its
    /// response.
    pub record: Record,
    /// The confirmation that [`free`](Idempotency::free) requires.
    pub confirmation: Confirmation,
}

/// Identifies the record that an operator has seen, and its response: 32 hexadecimal digits, which a form or a command
/// line can carry to the second call.
///
/// ```
/// use idempotency::operators::Confirmation;
///
/// let confirmation: Confirmation = "00112233445566778899aabbccddeeff".parse()?;
/// assert_eq!(confirmation.to_string(), "00112233445566778899aabbccddeeff");
/// # Ok::<_, idempotency::operators::ConfirmationError>(())
/// ```
///
/// It guards against mistakes and proves no permission: any caller of [`Idempotency::free`] may free any key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Confirmation([u8; 16]);

/// A text that is not a [`Confirmation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfirmationError;

impl Idempotency {
    /// Erases the response of a completed run. The key stays taken: until its ttl expires, retries are told that the
    /// response was erased, and do not run.
    ///
    /// ```
    /// use idempotency::{Idempotency, operators::KeyChange, store::{ListRequest, ListedPhase, StoreError, StoreErrorKind}};
    ///
    /// /// Erases all responses that this customer has been sent.
    /// async fn forget_customer(idempotency: &Idempotency, label: &str) -> Result<(), StoreError> {
    ///     let mut of_customer = ListRequest::new(100).in_phase(ListedPhase::Completed).labelled(label);
    ///     loop {
    ///         let page = idempotency.store().list(&of_customer).await?;
    ///         let Some(last) = page.last() else { return Ok(()) };
    ///         of_customer = of_customer.after(last.id);
    ///         for listed in &page {
    ///             // A record that the store cannot read must not keep the others.
    ///             match idempotency.erase(&listed.id).await {
    ///                 Ok(KeyChange::Held) => println!("{} is running", listed.id),
    ///                 Ok(_) => {}
    ///                 Err(error) if error.kind() == StoreErrorKind::Unreadable => println!("{}: {error}", listed.id),
    ///                 Err(error) => return Err(error),
    ///             }
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// This also removes the application's label. What stays does not identify a person: digests of key, scope and
    /// request, the route, and the times. A retry over HTTP gets 410 `response-erased`, and [`run`](Self::run) returns
    /// [`Rejection::Erased`](crate::Rejection::Erased). Erasing twice has the same effect as once.
    ///
    /// A response that cannot be decrypted, because it was changed or its secret is lost, is erased all the same. A hold is
    /// not changed, even if its run is lost: [`resolve`](Self::resolve) ends it first. A run that has lost its key cannot store its response over the erasure.
    ///
    /// # Errors
    ///
    /// If the store does not respond within five seconds. The response may be erased then: call this again. Also if the
    /// store cannot read the record at all.
    pub async fn erase(&self, id: &RecordId) -> Result<KeyChange, StoreError> {
        // A response that cannot be decrypted can still be erased.
        let sealed = (self.store() as &dyn Any).downcast_ref::<SealedStore>();
        let store = sealed.map_or(self.store(), SealedStore::behind);
        match self.find_completed(store, id).await? {
            Ok(seen) => self.erase_seen(&seen).await,
            Err(change) => Ok(change),
        }
    }

    /// [Erases](Self::erase) the response of this record, and nothing if its key was freed and used again since it was seen.
    ///
    /// ```
    /// use idempotency::{Idempotency, operators::KeyChange, store::{Record, StoreError}};
    ///
    /// /// Erases what the operator has just read, and no later response under the same key.
    /// async fn erase_what_was_read(idempotency: &Idempotency, read: &Record) -> Result<bool, StoreError> {
    ///     Ok(idempotency.erase_seen(read).await? == KeyChange::Made)
    /// }
    /// ```
    ///
    /// A record in flight gives [`KeyChange::Held`], and a removed one [`KeyChange::Changed`].
    ///
    /// # Errors
    ///
    /// If the store does not respond within five seconds. The response may be erased then: call again.
    pub async fn erase_seen(&self, seen: &Record) -> Result<KeyChange, StoreError> {
        if let Phase::InFlight { .. } = seen.phase {
            return Ok(KeyChange::Held);
        }
        let resolution = Resolution::Erase {
            outcome: outcome::erased(),
        };
        let change = self.change(seen, resolution).await?;
        if change == KeyChange::Made {
            tracing::info!(idempotency.record = %seen.id, "an operator has erased a response");
        }
        Ok(change)
    }

    /// Begins to free a completed key, and changes nothing: the first of two calls. Returns `None` if the key is not
    /// completed.
    ///
    /// ```
    /// use idempotency::{Idempotency, operators::{Confirmation, KeyChange}, store::{RecordId, StoreError}};
    ///
    /// /// What the operator reads before the second call.
    /// async fn ask(idempotency: &Idempotency, id: &RecordId) -> Result<String, StoreError> {
    ///     Ok(match idempotency.ask_to_free(id).await? {
    ///         Some(asked) => format!(
    ///             "completed at {:?}, and would run again; confirm by {}",
    ///             asked.record.completed_at, asked.confirmation,
    ///         ),
    ///         None => "there is no completed run".into(),
    ///     })
    /// }
    ///
    /// /// The second call.
    /// async fn free(idempotency: &Idempotency, id: &RecordId, typed: &str) -> Result<(), Box<dyn std::error::Error>> {
    ///     let confirmation: Confirmation = typed.parse()?;
    ///     match idempotency.free(id, &confirmation).await? {
    ///         KeyChange::Made => Ok(()),
    ///         other => Err(format!("nothing is freed: {other:?}").into()),
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// If the store does not respond within five seconds, or cannot read the record.
    pub async fn ask_to_free(&self, id: &RecordId) -> Result<Option<FreeRequest>, StoreError> {
        let seen = self.find_completed(self.store(), id).await?.ok();
        Ok(seen.and_then(|record| {
            let confirmation = Confirmation::of(&record)?;
            Some(FreeRequest {
                record,
                confirmation,
            })
        }))
    }

    /// Frees the key of a completed run: the next request with it runs, and takes effect a second time. It requires the
    /// confirmation of [`ask_to_free`](Self::ask_to_free), and frees nothing if the record or its response has changed
    /// since.
    ///
    /// Only the record's token stays, and is spent for a day: neither a late claim nor a late completion of the run takes
    /// the key again. Another run of the same request that is still underway counts as the next request: a
    /// [transactional](crate::options::RunMode::Transactional) one that began before and has not committed, or one that lost the
    /// key and recovers. So free a key when no run of it can be underway.
    ///
    /// A hold is not changed. [`Resolution::Release`] frees the key of a lost run.
    ///
    /// # Errors
    ///
    /// If the store does not respond within five seconds. The key may be free then: [`check`](Self::check) it.
    pub async fn free(
        &self,
        id: &RecordId,
        confirmation: &Confirmation,
    ) -> Result<KeyChange, StoreError> {
        let seen = match self.find_completed(self.store(), id).await? {
            Ok(seen) => seen,
            Err(change) => return Ok(change),
        };
        if Confirmation::of(&seen).as_ref() != Some(confirmation) {
            return Ok(KeyChange::Changed);
        }
        let change = self.change(&seen, Resolution::Forget).await?;
        if change == KeyChange::Made {
            tracing::warn!(
                idempotency.record = %id,
                "an operator has freed the key of a completed run; its next request runs again",
            );
        }
        Ok(change)
    }

    /// The record of a completed run, or why there is none.
    async fn find_completed(
        &self,
        store: &dyn Store,
        id: &RecordId,
    ) -> Result<Result<Record, KeyChange>, StoreError> {
        let found = with_store_timeout(store, store.inspect(id)).await?;
        Ok(match found {
            None => Err(KeyChange::Free),
            Some(record) => match record.phase {
                Phase::Completed { .. } => Ok(record),
                Phase::InFlight { .. } => Err(KeyChange::Held),
            },
        })
    }

    async fn change(&self, seen: &Record, resolution: Resolution) -> Result<KeyChange, StoreError> {
        let resolved = self.0.store.resolve(&seen.id, &seen.token, resolution);
        Ok(match with_store_timeout(self.store(), resolved).await? {
            IfOwner::Done(()) => KeyChange::Made,
            IfOwner::NotOwner => KeyChange::Changed,
        })
    }
}

impl Confirmation {
    fn of(record: &Record) -> Option<Self> {
        let Phase::Completed { outcome } = &record.phase else {
            return None;
        };
        let seen = Fingerprint::of([
            record.id.as_bytes().as_slice(),
            record.token.as_bytes().as_slice(),
            outcome.as_ref(),
        ]);
        // The first byte is the version of the digest.
        seen.as_bytes()[1..].first_chunk().copied().map(Self)
    }
}

impl fmt::Display for Confirmation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Confirmation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Confirmation({self})")
    }
}

impl FromStr for Confirmation {
    type Err = ConfirmationError;

    fn from_str(text: &str) -> Result<Self, ConfirmationError> {
        // `from_str_radix` also accepts a sign.
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = is_hex
            .then(|| u128::from_str_radix(text, 16).ok())
            .flatten();
        number
            .map(|number| Self(number.to_be_bytes()))
            .ok_or(ConfirmationError)
    }
}

impl fmt::Display for ConfirmationError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a confirmation is 32 hexadecimal digits")
    }
}

impl Error for ConfirmationError {}
