//! The state of a key, for operators.

use std::time::SystemTime;

use bytes::Bytes;

use super::{Idempotency, store_timeout::with_store_timeout};
use crate::{
    outcome::StoredOutcome,
    progress::Progress,
    record::{Phase, Record, RecordId},
    store::StoreError,
};

/// The state of a key.
///
/// ```
/// use std::time::SystemTime;
///
/// use idempotency::{Idempotency, operators::KeyState, store::{ListRequest, ListedPhase, StoreError}};
///
/// /// Counts the lost runs among the first thousand keys whose lease has expired.
/// async fn lost(idempotency: &Idempotency) -> Result<usize, StoreError> {
///     let expired = ListRequest::new(1000).in_phase(ListedPhase::Lapsed);
///     let listed = idempotency.store().list(&expired).await?;
///     let states = listed.iter().filter_map(|listed| listed.record.as_ref().ok());
///     Ok(states.filter(|record| KeyState::of(record, SystemTime::now()) == KeyState::Lost).count())
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyState {
    /// There is no record: the key was never used, was freed, or has expired. The next request with it runs.
    Free,
    /// A run holds the key, and its lease has not expired.
    Running,
    /// A run failed after steps that are stored. The next attempt resumes with them.
    Suspended,
    /// The owner has not renewed its lease in time: its process died, hangs, or cannot reach the store.
    Lost,
    /// The run is completed, and retries get what it stored.
    Done,
    /// The run is completed, and an operator has [erased](Idempotency::erase) its response.
    Erased,
}

impl KeyState {
    /// The state that this record shows at this time. Only [`Running`](Self::Running) and [`Lost`](Self::Lost) depend on
    /// the time, which is the store's.
    #[must_use]
    pub fn of(record: &Record, now: SystemTime) -> Self {
        match &record.phase {
            Phase::InFlight {
                lease_until,
                progress,
            } => {
                let is_suspended = Progress::read(progress.clone())
                    .is_ok_and(|progress| progress.is_suspended(record.attempt));
                if *lease_until > now {
                    Self::Running
                } else if is_suspended {
                    Self::Suspended
                } else {
                    Self::Lost
                }
            }
            Phase::Completed { outcome } => match StoredOutcome::read(outcome.clone()) {
                Ok(StoredOutcome::Erased) => Self::Erased,
                _ => Self::Done,
            },
        }
    }
}

/// What a completed run stored, as an operator reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoredResponse<T> {
    /// The response that retries get.
    Kept(T),
    /// A value is stored, as JSON, from which the handler's [`replay`](crate::idempotent) function rebuilds the response for
    /// each retry.
    ReplayValue(Bytes),
    /// The response was not stored, for example because it is too long, or holds a secret. Retries get
    /// [`Rejection::NotStored`](crate::Rejection::NotStored), and do not run.
    NotStored,
    /// An operator has erased the response. Retries get [`Rejection::Erased`](crate::Rejection::Erased), and do not run.
    Erased,
    /// The run has not ended.
    None,
}

impl Idempotency {
    /// Reads whether this key is free, running, suspended, lost or done.
    ///
    /// ```
    /// use idempotency::{Idempotency, IdempotencyKey, Scope, operators::KeyState};
    ///
    /// /// Whether the payment of this key is settled, one way or the other.
    /// async fn is_settled(idempotency: &Idempotency, key: &str) -> Result<bool, Box<dyn std::error::Error>> {
    ///     let id = idempotency.record_id(&Scope::principal("ann"), &IdempotencyKey::new(key)?);
    ///     let state = idempotency.check(&id).await?;
    ///     Ok(matches!(state, KeyState::Done | KeyState::Erased))
    /// }
    /// ```
    ///
    /// This changes nothing. The lease is compared with this process's clock, and the state may have changed when it is
    /// returned. Only [`resolve`](Self::resolve), [`erase`](Self::erase) and [`free`](Self::free) decide, because they
    /// compare the record. A transactional run shows nothing before its commit, so its key is [`KeyState::Free`] until
    /// then.
    ///
    /// # Errors
    ///
    /// If the store does not respond within five seconds, or cannot read the record.
    pub async fn check(&self, id: &RecordId) -> Result<KeyState, StoreError> {
        let found = with_store_timeout(self.store(), self.0.store.inspect(id)).await?;
        Ok(found.map_or(KeyState::Free, |record| {
            KeyState::of(&record, SystemTime::now())
        }))
    }

    /// Counts the [steps](crate::guide::steps) that the run of this record has completed, its earlier attempts included. A
    /// completed run keeps none.
    ///
    /// ```
    /// use idempotency::{Idempotency, store::{Record, StoreError}};
    ///
    /// /// Whether the next attempt begins from the start.
    /// fn begins_anew(idempotency: &Idempotency, seen: &Record) -> Result<bool, StoreError> {
    ///     Ok(idempotency.completed_steps(seen)? == 0)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// If another version of this library wrote them, or they are damaged.
    pub fn completed_steps(&self, seen: &Record) -> Result<usize, StoreError> {
        match &seen.phase {
            Phase::InFlight { progress, .. } => Ok(Progress::read(progress.clone())?.len()),
            Phase::Completed { .. } => Ok(0),
        }
    }

    /// Reads the value that [`run`](Self::run) stored in this record, as JSON.
    ///
    /// ```
    /// use idempotency::{Idempotency, operators::StoredResponse, store::{Record, StoreError}};
    ///
    /// /// The receipt that every further call gets.
    /// fn receipt(idempotency: &Idempotency, seen: &Record) -> Result<Option<Vec<u8>>, StoreError> {
    ///     Ok(match idempotency.stored_value(seen)? {
    ///         StoredResponse::Kept(json) => Some(json.to_vec()),
    ///         _ => None,
    ///     })
    /// }
    /// ```
    ///
    /// The record does not say whether a handler or `run` made it; for a handler's, use `stored_response`. The value
    /// belongs to its caller: show it only to people who may see it.
    ///
    /// # Errors
    ///
    /// If another version of this library wrote it, or it is damaged.
    pub fn stored_value(&self, seen: &Record) -> Result<StoredResponse<Bytes>, StoreError> {
        read_stored(seen)
    }
}

/// What is stored of the response, in the format of the code that wrote it.
pub(crate) fn read_stored(seen: &Record) -> Result<StoredResponse<Bytes>, StoreError> {
    let Phase::Completed { outcome } = &seen.phase else {
        return Ok(StoredResponse::None);
    };
    Ok(match StoredOutcome::read(outcome.clone())? {
        StoredOutcome::Response(bytes) => StoredResponse::Kept(bytes),
        StoredOutcome::Tombstone(_) => StoredResponse::NotStored,
        StoredOutcome::Erased => StoredResponse::Erased,
        StoredOutcome::ReplayValue(json) => StoredResponse::ReplayValue(json),
    })
}
