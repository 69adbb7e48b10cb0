//! The application's own transactions, as far as a key's record can be part of them.

use std::{error::Error, sync::Arc, time::SystemTime};

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::{Fenced, Hold, Store};
use crate::Fingerprint;

/// Work on a database that can be committed together with a key's record, by
/// [`Execution::commit`](crate::Execution::commit).
///
/// | Type | Store | Feature |
/// |---|---|---|
/// | `sqlx::Transaction<'_, Postgres>` | [`PostgresStore`](crate::PostgresStore) in the same database | `postgres` |
/// | [`SqliteTransaction`](crate::SqliteTransaction) | [`SqliteStore`](crate::SqliteStore) in the same file | `sqlite` |
///
/// It cannot be implemented elsewhere, because it writes what only a store of this library can read.
pub trait Transaction: Sized + Send + sealed::Sealed {
    /// What the work gives, once it is done: nothing, where it was done before.
    type Value: Send + 'static;

    /// Whether the records of this store can be part of it.
    #[doc(hidden)]
    fn shares(&self, store: &dyn Store) -> bool;

    /// Commits, together with a record where there is one to be written. `ending` makes the answer of what the work
    /// gives; if it fails, nothing is committed.
    #[doc(hidden)]
    fn commit<A: Send + 'static>(
        self,
        entry: Option<Entry>,
        ending: impl FnOnce(Self::Value) -> Answering<A> + Send + 'static,
    ) -> impl Future<Output = Result<Fenced<Committed<A>>, CommitFailure>> + Send;
}

/// An answer on its way, and the bytes that its record keeps of it.
pub(crate) type Answering<A> = BoxFuture<'static, Result<(A, Bytes), Box<dyn Error + Send + Sync>>>;

/// The record that a transaction writes: completed, and its store one that the transaction shares.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct Entry {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) hold: Hold,
    pub(crate) fingerprint: Fingerprint,
    /// Whether the hold has been claimed, so that the record is there; if not, there must be none.
    pub(crate) is_held: bool,
}

/// What was committed.
#[doc(hidden)]
#[derive(Debug)]
pub struct Committed<A> {
    pub(crate) answer: A,
    /// What the record keeps of it, or would.
    pub(crate) outcome: Bytes,
    /// Until when the record is kept, if one was written.
    pub(crate) expires_at: Option<SystemTime>,
}

/// Why a transaction was not committed, as far as is known.
#[doc(hidden)]
#[derive(Debug)]
pub enum CommitFailure {
    /// Nothing of it is kept.
    Undone(Box<dyn Error + Send + Sync>),
    /// It may have been committed, or may yet be.
    Unknown(Box<dyn Error + Send + Sync>),
}

#[cfg_attr(
    not(any(feature = "postgres", feature = "sqlite")),
    expect(dead_code, reason = "no store here shares its transactions")
)]
pub(super) mod sealed {
    /// Keeps [`Transaction`](super::Transaction) to the stores of this library.
    pub trait Sealed {}
}
