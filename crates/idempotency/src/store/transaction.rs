//! The application's own transactions, as far as a key's record can be part of them.

use std::{
    error::Error,
    iter::successors,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::{Hold, IfOwner, Store, StoreError};
use crate::{Fingerprint, record::RecordId};

/// Work on a database that can be committed together with a key's record, by
/// [`Execution::commit`](crate::Execution::commit).
///
/// | Type | Store | Feature |
/// |---|---|---|
/// | `sqlx::Transaction<'_, Postgres>`, of sqlx 0.9 | [`PostgresStore`](crate::PostgresStore) in the same database | `postgres` |
/// | the same, of sqlx 0.8 | | `sqlx-0_8` |
/// | `tokio_postgres::Transaction<'_>` | | `tokio-postgres` |
/// | of another client of PostgreSQL: any [`PostgresTransaction`](crate::store::PostgresTransaction) | | `postgres` |
/// | [`SqliteTransaction`](crate::store::SqliteTransaction) | [`SqliteStore`](crate::SqliteStore) in the same file | `sqlite` |
/// | [`FirestoreTransaction`](crate::store::FirestoreTransaction) | [`FirestoreStore`](crate::FirestoreStore) in the same database | `firestore` |
///
/// It cannot be implemented outside this library, because it writes what only a store of this library can read.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a transaction that can be committed with a key",
    label = "not a transaction that can be committed with a key",
    note = "pass a `sqlx::Transaction<'_, Postgres>`, `SqliteDatabase::transaction(…)` or `FirestoreDatabase::transaction()`"
)]
pub trait Transaction: Sized + Send + sealed::Sealed {
    /// The result of the work. It is absent if the work was committed before.
    type Value: Send + 'static;

    /// Whether the records of this store can be part of the transaction.
    #[doc(hidden)]
    fn shares(&self, store: &dyn Store) -> bool;

    /// Commits, together with a record if there is one to write.
    // Boxed and without type parameters, so that the compiler sees at once that a handler's future is `Send`.
    #[doc(hidden)]
    fn commit<'a>(
        self,
        entry: Option<PendingRecord>,
        ending: EncodeResponse<Self::Value>,
    ) -> BoxFuture<'a, Result<IfOwner<Committed>, CommitFailure>>
    where
        Self: 'a;

    /// Like [`commit`](Self::commit), for a record whose store may turn out to be in another database. In that case
    /// `before` is awaited and the work is committed without the record.
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
        // This transaction knows from the start where the store is.
        drop(before);
        self.commit(Some(entry), ending)
    }
}

/// What is done before a transaction is committed without its record. It fails if another run now owns the key.
#[doc(hidden)]
pub(crate) type BeforeAlone = BoxFuture<'static, Result<IfOwner<()>, CommitFailure>>;

/// Makes the stored outcome of the work's result. If it fails, nothing is committed.
pub(crate) type EncodeResponse<V> = Box<
    dyn FnOnce(V) -> BoxFuture<'static, Result<NewOutcome, Box<dyn Error + Send + Sync>>> + Send,
>;

/// The outcome of a run that is to be stored.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct NewOutcome {
    pub bytes: Bytes,
    /// How long the store keeps it, if not for as long as the hold says.
    pub ttl: Option<Duration>,
}

impl NewOutcome {
    /// The hold that a store completes with this outcome.
    pub(crate) fn hold(&self, hold: &Hold) -> Hold {
        hold.clone().with_ttl(self.ttl.unwrap_or(hold.ttl))
    }
}

impl From<Bytes> for NewOutcome {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, ttl: None }
    }
}

/// The record that a transaction writes: completed, in a store whose database the transaction shares.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct PendingRecord {
    pub store: Arc<dyn Store>,
    pub hold: Hold,
    pub fingerprint: Fingerprint,
    /// Whether the hold has been claimed, so that its record exists. If not, there must be no record.
    pub is_held: bool,
}

/// What was committed.
#[doc(hidden)]
#[derive(Debug)]
pub struct Committed {
    /// The outcome that the record stores, or would store.
    pub outcome: NewOutcome,
    /// When the record expires, if one was written.
    pub expires_at: Option<SystemTime>,
}

/// Why a transaction was not committed, as far as is known.
#[doc(hidden)]
#[derive(Debug)]
pub enum CommitFailure {
    /// Nothing of it was committed.
    Undone(Box<dyn Error + Send + Sync>),
    /// It may have been committed, or may still be.
    Unknown(Box<dyn Error + Send + Sync>),
    /// It is not a transaction that can be committed here, and this call commits nothing of it. The text says what to
    /// change.
    #[cfg(feature = "postgres")]
    Misused(&'static str),
}

/// How many wrappers may stand around a store, handles included.
const MAX_WRAPPERS: usize = 64;

/// Whether following [`Store::wrapped`] comes to an end. For a wrapper that names itself, or one that wraps it, it does
/// not, and each transaction would overflow its thread's stack, which ends the process.
pub(crate) fn is_finite(store: &dyn Store) -> bool {
    let mut chain = successors(Some(store), |store| store.wrapped());
    chain.nth(MAX_WRAPPERS).is_none()
}

/// The store inside all wrappers.
#[cfg(any(
    feature = "conformance",
    feature = "firestore",
    feature = "postgres",
    feature = "sqlite"
))]
pub(crate) fn innermost(store: &dyn Store) -> &dyn Store {
    store.wrapped().map_or(store, innermost)
}

/// The bytes that a store and all stores that it wraps make of an outcome.
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

/// Restricts [`Transaction`] to the stores of this library, and to the databases that its tests simulate.
pub(crate) mod sealed {
    /// Implemented by the transactions of this library's stores.
    pub trait Sealed {}
}
