//! The application's own transactions, as far as a key's record can be part of them.

use std::{error::Error, sync::Arc, time::SystemTime};

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::{Hold, IfOwner, Store, StoreError};
use crate::{Fingerprint, RecordId};

/// Work on a database that can be committed together with a key's record, by
/// [`Execution::commit`](crate::Execution::commit).
///
/// | Type | Store | Feature |
/// |---|---|---|
/// | `sqlx::Transaction<'_, Postgres>`, of sqlx 0.9 | [`PostgresStore`](crate::PostgresStore) in the same database | `postgres` |
/// | the same, of sqlx 0.8 | | `sqlx-0_8` |
/// | `tokio_postgres::Transaction<'_>` | | `tokio-postgres` |
/// | of another client of PostgreSQL: whatever is a [`PostgresTransaction`](crate::PostgresTransaction) | | `postgres` |
/// | [`SqliteTransaction`](crate::SqliteTransaction) | [`SqliteStore`](crate::SqliteStore) in the same file | `sqlite` |
/// | [`FirestoreTransaction`](crate::FirestoreTransaction) | [`FirestoreStore`](crate::FirestoreStore) in the same database | `firestore` |
///
/// It cannot be implemented elsewhere, because it writes what only a store of this library can read.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no transaction that can be committed with a key",
    label = "not a transaction that can be committed with a key",
    note = "pass a `sqlx::Transaction<'_, Postgres>`, `SqliteDatabase::transaction(…)` or `FirestoreDatabase::transaction()`"
)]
pub trait Transaction: Sized + Send + sealed::Sealed {
    /// What the work gives, once it is done: nothing, where it was done before.
    type Value: Send + 'static;

    /// Whether the records of this store can be part of it.
    #[doc(hidden)]
    fn shares(&self, store: &dyn Store) -> bool;

    /// Commits, together with a record where there is one to be written.
    // Boxed and without parameters, so that the compiler sees at once that a handler's future can be sent.
    #[doc(hidden)]
    fn commit<'a>(
        self,
        entry: Option<PendingRecord>,
        ending: EncodeResponse<Self::Value>,
    ) -> BoxFuture<'a, Result<IfOwner<Committed>, CommitFailure>>
    where
        Self: 'a;

    /// As [`commit`](Self::commit), for a record whose store may turn out to be elsewhere: then this is awaited, and the work
    /// committed without it.
    #[doc(hidden)]
    fn commit_or_alone<'a>(
        self,
        entry: PendingRecord,
        ending: EncodeResponse<Self::Value>,
        before: BeforeAlone,
    ) -> BoxFuture<'a, Result<IfOwner<Committed>, CommitFailure>>
    where
        Self: 'a,
    {
        // Here it is known from the start where the store is.
        drop(before);
        self.commit(Some(entry), ending)
    }
}

/// What is done before a transaction is committed that does not carry its record, unless the key is another run's by now.
#[doc(hidden)]
pub(crate) type BeforeAlone = BoxFuture<'static, Result<IfOwner<()>, CommitFailure>>;

/// Makes what the record keeps of what the work gives; if it fails, nothing is committed.
pub(crate) type EncodeResponse<V> =
    Box<dyn FnOnce(V) -> BoxFuture<'static, Result<Bytes, Box<dyn Error + Send + Sync>>> + Send>;

/// The record that a transaction writes: completed, and its store one that the transaction shares.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct PendingRecord {
    pub store: Arc<dyn Store>,
    pub hold: Hold,
    pub fingerprint: Fingerprint,
    /// Whether the hold has been claimed, so that the record is there; if not, there must be none.
    pub is_held: bool,
}

/// What was committed.
#[doc(hidden)]
#[derive(Debug)]
pub struct Committed {
    /// What the record keeps, or would.
    pub outcome: Bytes,
    /// Until when the record is kept, if one was written.
    pub expires_at: Option<SystemTime>,
}

/// Why a transaction was not committed, as far as is known.
#[doc(hidden)]
#[derive(Debug)]
pub enum CommitFailure {
    /// Nothing of it is kept.
    Undone(Box<dyn Error + Send + Sync>),
    /// It may have been committed, or may yet be.
    Unknown(Box<dyn Error + Send + Sync>),
    /// It is not a transaction that can be committed here, and this call keeps nothing of it. The text says what to change.
    #[cfg(feature = "postgres")]
    Misused(&'static str),
}

/// The store behind all wrappers.
#[cfg(any(
    feature = "conformance",
    feature = "firestore",
    feature = "postgres",
    feature = "sqlite"
))]
pub(crate) fn innermost(store: &dyn Store) -> &dyn Store {
    store.wrapped().map_or(store, innermost)
}

/// The bytes that a store and all that it wraps make of an outcome.
pub(crate) fn encode_through(
    store: &dyn Store,
    id: &RecordId,
    outcome: Bytes,
) -> Result<Bytes, StoreError> {
    let outcome = store.encode_outcome(id, outcome)?;
    match store.wrapped() {
        Some(wrapped) => encode_through(wrapped, id, outcome),
        None => Ok(outcome),
    }
}

/// Keeps [`Transaction`] to the stores of this library.
pub(super) mod sealed {
    pub trait Sealed {}
}
