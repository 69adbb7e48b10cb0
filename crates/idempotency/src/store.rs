//! The contract between the engine and the stores that remember keys.
//!
//! # How to write a store
//!
//! A store knows nothing about HTTP. It stores opaque bytes under a [`RecordId`] and moves a record along this path. Each
//! verb is one atomic step:
//!
//! ```text
//! absent ── claim ──▶ in flight ── complete(token) ──▶ completed ── ttl ──▶ absent
//!                       │  ▲ renew(token), checkpoint(token)   release(token) ──▶ absent
//!                       └──┴─ lease lapsed: a claim with an equal fingerprint takes over, attempt + 1,
//!                             or learns that the outcome is unknown
//! ```
//!
//! A store promises that
//!
//! 1. of any number of concurrent claims on one id, exactly one wins, whether the record is absent, lapsed or expired;
//! 2. every step out of "in flight" compares the owner's token, and changes nothing if it differs;
//! 3. a claim by the token that already owns the hold is [`Claim::Won`] again, and a completion by the token that
//!    completed the record is [`IfOwner::Done`] again, so that a caller can retry after a lost reply;
//! 4. only a claim with an equal fingerprint takes over a lapsed hold, and a claim with [`OnLost::Refuse`] never does;
//! 5. expiry is decided when a record is read, by one clock, and not when it is swept;
//! 6. a record that cannot be read is an error, never "absent", and does not hide other records from a list;
//! 7. a completed record is never dropped before its time. A full store refuses new keys instead
//!    ([`StoreErrorKind::Full`]). A store with a limit of its own also refuses the new keys of a [scope](Hold::scope)
//!    that uses more than eight times what is free ([`StoreErrorKind::ScopeFull`]), so that other scopes still find
//!    room. A completion is never refused because the store is full;
//! 8. outcomes and progress up to [`outcome_limit`](Store::outcome_limit) are stored unchanged; longer ones fail with
//!    [`StoreErrorKind::TooLarge`] and leave the hold as it was;
//! 9. progress belongs to the hold: renewals and take-overs preserve it, and it is gone once the hold ends or the
//!    record expires;
//! 10. a token is spent once its claim was [withdrawn](Store::withdraw), its hold was released, suspended, or
//!     released by an operator, or an operator forgot its record. A later claim by a spent token fails with
//!     [`StoreErrorKind::Withdrawn`] and takes nothing. For all other callers a key that has only spent tokens is free:
//!     it is not inspected or listed, and the next claim is attempt 1.
//!
//! A store remembers a spent token for at least this long, or else until a run that meanwhile holds the key has ended and
//! its record is forgotten:
//!
//! | The token of | is remembered for |
//! |---|---|
//! | a withdrawn first claim | a lease and a ttl |
//! | a withdrawn take-over, or a suspended hold | a ttl |
//! | a released hold | a lease |
//! | a hold that an operator released, or a record that an operator forgot | [`SPENT_FOR`] |
//!
//! For each key it remembers the last [`MAX_SPENT_TOKENS`] of them, whichever callers they belong to.
//!
//! [`Entry`] has these transitions as methods, so that a store has to load an entry, call one of them and save the entry, as one
//! atomic step. The example `store` of this crate is such a store.

mod claim;
mod debug;
mod entry;
mod error;
#[cfg(feature = "firestore")]
mod firestore;
pub(crate) mod keyed_hash;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod lane;
mod list;
mod listed;
mod memory;
mod polling;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
mod resolution;
mod seal;
pub(crate) mod sealed;
mod share;
mod shared;
mod spent;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(any(feature = "firestore", feature = "redis"))]
mod tls;
pub(crate) mod transaction;
mod verification;
mod wakeups;

use std::{
    any::Any,
    fmt,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;

pub use crate::labels::Labels;
pub use crate::record::Phase;
pub use crate::record::Record;
pub use crate::record::RecordId;
pub use crate::record::ScopeId;
pub use crate::record::Token;
pub use claim::Claim;
pub use claim::ClaimRequest;
pub use claim::Hold;
pub use claim::OnLost;
pub use entry::Change;
pub use entry::Entry;
pub use entry::Transition;
pub use error::StoreError;
pub use error::StoreErrorKind;
#[cfg(feature = "firestore")]
pub use firestore::FirestoreConflict;
#[cfg(feature = "firestore")]
pub use firestore::FirestoreDatabase;
#[cfg(feature = "firestore")]
pub use firestore::FirestorePrecondition;
#[cfg(feature = "firestore")]
pub use firestore::FirestoreStore;
#[cfg(feature = "firestore")]
pub use firestore::FirestoreStoreError;
#[cfg(feature = "firestore")]
pub use firestore::FirestoreTransaction;
pub use list::ListRequest;
pub use list::ListedPhase;
pub use listed::Listed;
pub use memory::MemoryStore;
pub use polling::Polling;
#[cfg(feature = "postgres")]
pub use postgres::PostgresStatement;
#[cfg(feature = "postgres")]
pub use postgres::PostgresStore;
#[cfg(feature = "postgres")]
pub use postgres::PostgresStoreError;
#[cfg(feature = "postgres")]
pub use postgres::PostgresTransaction;
#[cfg(feature = "postgres")]
pub use postgres::PostgresValue;
#[cfg(feature = "redis")]
pub use redis::RedisStore;
#[cfg(feature = "redis")]
pub use redis::RedisStoreError;
pub use resolution::Resolution;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteDatabase;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStoreError;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteTransaction;
pub use transaction::Transaction;
pub use verification::Finding;
pub use verification::Verdict;
pub use verification::Verification;
pub use wakeups::Subscription;
pub use wakeups::Wakeups;

use crate::Fingerprint;

/// A store that remembers keys. See the [module docs](self) for what an implementation promises.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a store of keys",
    label = "not a store of keys",
    note = "pass a `MemoryStore`, or with its feature a `SqliteStore`, `PostgresStore`, `RedisStore` or `FirestoreStore`"
)]
#[async_trait]
pub trait Store: Any + fmt::Debug + Send + Sync {
    /// The store's name in errors and logs, such as `postgres`. A wrapper that only passes calls on returns the
    /// name of the store that it wraps.
    fn name(&self) -> &'static str;

    /// The store that this one wraps, if it is a wrapper: the one to which it passes its calls, and never itself.
    ///
    /// A wrapper counts calls or changes what is stored, and passes the calls on. A [`Transaction`] follows this method
    /// to find the store whose database it shares, behind any number of wrappers. What a transaction writes bypasses
    /// the wrappers, so a wrapper that changes outcomes changes them in [`encode_outcome`](Self::encode_outcome) too.
    fn wrapped(&self) -> Option<&dyn Store> {
        None
    }

    /// The bytes that this store passes to the store that it [wraps](Self::wrapped) in place of this outcome. A store
    /// that changes nothing keeps the default.
    ///
    /// Callers of a store pass and receive outcomes unchanged. A wrapper that changes them does so wherever an outcome
    /// passes:
    ///
    /// | Changed on the way to the wrapped store | Restored on the way back |
    /// |---|---|
    /// | [`complete`](Self::complete) | [`Claim::Completed`] |
    /// | [`resolve`](Self::resolve), of [`Resolution::Complete`], [`Resolution::Replace`] and [`Resolution::Erase`] | [`inspect`](Self::inspect), [`list`](Self::list) |
    /// | a run's own transaction, by this function | |
    ///
    /// Each wrapper makes its own change only: the outermost is called first, and the next receives its result. The
    /// change may depend on the record's id. It must not depend on the token, which a claim by another owner cannot
    /// know. After an error the transaction is not committed. If changed outcomes are longer, they must fit into the
    /// wrapped store, so the wrapper's [`outcome_limit`](Self::outcome_limit) is lower by the difference.
    fn encode_outcome(&self, id: &RecordId, outcome: Bytes) -> Result<Bytes, StoreError> {
        let _ = id;
        Ok(outcome)
    }

    /// Whether there is room for a new key of this scope now, without waiting. The engine asks before a transactional
    /// run, which claims nothing before its transaction commits. A wrapper asks the store that it wraps.
    fn check_room(&self, scope: &ScopeId) -> Result<(), StoreError> {
        match self.wrapped() {
            Some(wrapped) => wrapped.check_room(scope),
            None => Ok(()),
        }
    }

    /// Takes the key for the token of the request's hold, or returns its state.
    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError>;

    /// The same as [`claim`](Self::claim) without a future, for a store whose records are in the memory of this process.
    /// All other stores return `None` and do nothing.
    ///
    /// If a wrapper does not implement it, the engine calls `claim` instead. A wrapper that does more than delegate in
    /// `claim` must do the same here.
    fn claim_now(&self, request: ClaimRequest<'_>) -> Option<Result<Claim, StoreError>> {
        let _ = request;
        None
    }

    /// Undoes the claim that this token made, or may yet make.
    ///
    /// The record is again as it was before the claim: a first attempt without progress is removed, and after a
    /// take-over the previous hold is restored, lapsed, with its attempt and its progress. A claim by this token that
    /// arrives later takes nothing. A run of another owner is left alone, even one whose lease has lapsed, because it
    /// may only be late. The fingerprint is that of the claim. Repeating the call changes nothing.
    async fn withdraw(&self, hold: &Hold, fingerprint: &Fingerprint) -> Result<(), StoreError>;

    /// Extends the hold by `hold.lease` from now.
    async fn renew(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError>;

    /// Stores what the run has done so far, in place of its previous progress. The claim that takes over the record
    /// receives it. The lease is not extended. Progress that is shorter than the stored progress is outdated: the call
    /// is [`IfOwner::Done`] and changes nothing.
    async fn checkpoint(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError>;

    /// Ends the hold without an outcome and stores the run's progress. The next claim by the same request takes over at
    /// once. If the token has already suspended the hold, this is [`IfOwner::Done`] again.
    async fn suspend(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError>;

    /// Ends the hold with an outcome that is stored for `hold.ttl` from now, and returns when it expires. The
    /// ttl may differ from that of the claim.
    async fn complete(
        &self,
        hold: &Hold,
        outcome: Bytes,
    ) -> Result<IfOwner<SystemTime>, StoreError>;

    /// The same as [`complete`](Self::complete) without a future, under the conditions of [`claim_now`](Self::claim_now).
    fn complete_now(
        &self,
        hold: &Hold,
        outcome: &Bytes,
    ) -> Option<Result<IfOwner<SystemTime>, StoreError>> {
        let _ = (hold, outcome);
        None
    }

    /// Ends the hold without an outcome: the key is free again.
    async fn release(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError>;

    /// The record under this id, unless it is absent or expired.
    async fn inspect(&self, id: &RecordId) -> Result<Option<Record>, StoreError>;

    /// The unexpired records that match the request, in the order of their ids. A record that cannot be read is always
    /// listed, whatever the request filters by.
    async fn list(&self, request: &ListRequest) -> Result<Vec<Listed>, StoreError>;

    /// Ends a hold, or changes a completed record, on behalf of an operator, if `seen` is still its token.
    async fn resolve(
        &self,
        id: &RecordId,
        seen: &Token,
        resolution: Resolution,
    ) -> Result<IfOwner<()>, StoreError>;

    /// Removes up to `limit` expired records and returns how many it removed.
    async fn purge_expired(&self, limit: usize) -> Result<usize, StoreError>;

    /// How many records the store has, if it can tell without reading all of them; `None` if it cannot.
    ///
    /// The number is for a metric: it may be an estimate, and may include records that the next sweep removes. The engine asks after each sweep, with
    /// the feature `metrics`. A wrapper asks the store that it [wraps](Self::wrapped).
    async fn live_records(&self) -> Result<Option<u64>, StoreError> {
        match self.wrapped() {
            Some(wrapped) => wrapped.live_records().await,
            None => Ok(None),
        }
    }

    /// Checks what would go wrong: whether the store can be reached and written, and what it knows about its server or
    /// file. It never fails; what it cannot do is a finding.
    ///
    /// A store of your own gets [`Verification::of_steps`], and a wrapper the findings of the store that it
    /// [wraps](Self::wrapped). It takes seconds, and is meant for the start of a program and for operators.
    async fn verify(&self) -> Verification {
        match self.wrapped() {
            Some(wrapped) => wrapped.verify().await,
            None => Verification::of_steps(self).await,
        }
    }

    /// Subscribes to the end of the hold on this id, from now on.
    fn subscribe(&self, id: &RecordId) -> Subscription;

    /// The longest outcome, and the longest progress, in bytes, that the store can hold. The engine stores a tombstone
    /// in place of a longer outcome.
    fn outcome_limit(&self) -> usize;
}

/// How a store responds to a step that only the owner of a hold may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IfOwner<T> {
    /// The caller is the owner, and the step was taken.
    Done(T),
    /// The caller is not, or is no longer, the owner; nothing was changed.
    NotOwner,
}

impl<T> IfOwner<T> {
    /// The same response with another value, for stores that wrap others.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> IfOwner<U> {
        match self {
            Self::Done(value) => IfOwner::Done(change(value)),
            Self::NotOwner => IfOwner::NotOwner,
        }
    }
}

/// How long a token stays spent after an operator has released its hold or forgotten its record: longer than any run is
/// renewed.
pub const SPENT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// How many spent tokens of a key a store remembers at least: one client may have as many claims in flight
/// concurrently.
pub const MAX_SPENT_TOKENS: usize = 8;

/// Refuses bytes that exceed the store's limit: it could store only a part of them.
#[cfg(any(
    feature = "firestore",
    feature = "postgres",
    feature = "redis",
    feature = "sqlite"
))]
fn check_length(bytes: &Bytes, limit: usize) -> Result<(), StoreError> {
    match bytes.len() {
        length if length > limit => Err(StoreError::too_large(format!(
            "{length} bytes do not fit into a record, which holds at most {limit}"
        ))),
        _ => Ok(()),
    }
}
