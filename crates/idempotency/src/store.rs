//! The contract between the engine and whatever remembers keys.
//!
//! # How to write a store
//!
//! A store knows nothing of HTTP: it keeps opaque bytes under a [`RecordId`] and moves a record along
//! this path, each verb one atomic step:
//!
//! ```text
//! absent ── claim ──▶ in flight ── complete(token) ──▶ completed ── ttl ──▶ absent
//!                       │  ▲ renew(token), checkpoint(token)   release(token) ──▶ absent
//!                       └──┴─ lease lapsed: a claim with an equal fingerprint takes over, attempt + 1,
//!                             or is told that the outcome is unknown
//! ```
//!
//! A store promises that
//!
//! 1. of any number of claims on one id, at one time, one wins: for absent, lapsed and expired records;
//! 2. every step out of "in flight" compares the owner's token, and changes nothing where it differs;
//! 3. a claim by the token that owns the hold already is [`Claim::Won`] again, and a completion by the
//!    token that completed the record is [`IfOwner::Done`] again, so that a lost reply can be retried;
//! 4. a lapsed hold is taken over only by a claim with an equal fingerprint, and never by one that says
//!    [`OnLost::Refuse`];
//! 5. expiry is decided when a record is read, by one clock, not when it is swept;
//! 6. a record that cannot be read is an error, never "absent", and hides no other one from a list;
//! 7. a completed record is never dropped before its time: a full store refuses new keys instead
//!    ([`StoreErrorKind::Full`]), and a store with a limit of its own refuses those of a [scope](Hold::scope) that uses more than
//!    eight times what is free ([`StoreErrorKind::ScopeFull`]), so that others still find room. Neither refuses a completion;
//! 8. an outcome or a progress up to its limit is kept whole, and one that it cannot keep is refused with the hold
//!    left as it was;
//! 9. progress belongs to the hold: renewals and take-overs keep it, and the hold's end, or its record's, forgets it;
//! 10. a token is spent once its claim was [withdrawn](Store::withdraw), its hold released or suspended, or an operator
//!     released it: a claim by it that arrives afterwards is [`StoreErrorKind::Withdrawn`] and takes nothing, for at
//!     least a lease and a ttl, a lease, a ttl, or [`SPENT_FOR`], or else until a run that holds the key meanwhile has ended and
//!     its record is forgotten. Of each key the store remembers the last [`MAX_SPENT_TOKENS`] of them, whoever holds it. To everybody else a
//!     key without an attempt that stands is free: it is not inspected or listed, and the next claim is attempt 1.
//!
//! The example `store` of this crate is the shortest complete one.

mod claim;
mod debug;
mod error;
#[cfg(feature = "firestore")]
mod firestore;
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
mod wakeups;

use std::{
    any::Any,
    fmt,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;

pub use claim::Claim;
pub use claim::ClaimRequest;
pub use claim::Hold;
pub use claim::OnLost;
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
pub use wakeups::Subscription;
pub use wakeups::Wakeups;

use crate::{Fingerprint, Record, RecordId, ScopeId, Token};

/// Something that remembers keys. See the [module docs](self) for what an implementation promises.
#[async_trait]
pub trait Store: Any + fmt::Debug + Send + Sync {
    /// What the store is called in errors and logs, such as `postgres`.
    fn name(&self) -> &'static str;

    /// The store that this one wraps, if it is a wrapper.
    ///
    /// A wrapper counts calls, or changes what is stored, and passes the calls on. By this a
    /// [`Transaction`] finds the store whose database it shares, behind any number of wrappers. What a transaction writes passes
    /// none of them, so one that changes outcomes changes them in [`encode_outcome`](Self::encode_outcome) too.
    fn wrapped(&self) -> Option<&dyn Store> {
        None
    }

    /// The bytes that this store passes on to the one that it [wraps](Self::wrapped) in place of this outcome. A store that
    /// changes nothing has nothing to do here.
    ///
    /// Callers of a store give and get outcomes as they are. A wrapper that changes them does so wherever one passes:
    ///
    /// | Towards the wrapped store | Back, where the change is undone |
    /// |---|---|
    /// | [`complete`](Self::complete) | [`Claim::Completed`] |
    /// | [`resolve`](Self::resolve), of [`Resolution::Complete`] and [`Resolution::Replace`] | [`inspect`](Self::inspect), [`list`](Self::list) |
    /// | a run's own transaction, by this function | |
    ///
    /// Each wrapper makes its own change only: of several the outermost is asked first, and the next one gets what that has
    /// made. The change may depend on the record's id, and not on the token, which a claim by another owner cannot know. An error
    /// keeps the transaction from being committed. Changed outcomes that are longer have to fit the store behind the wrapper, so
    /// its [`outcome_limit`](Self::outcome_limit) is lower by as much.
    fn encode_outcome(&self, id: &RecordId, outcome: Bytes) -> Result<Bytes, StoreError> {
        let _ = id;
        Ok(outcome)
    }

    /// Whether a new key of this scope would find room now, without waiting. A run is asked for that claims nothing before its
    /// transaction commits. A wrapper asks the store that it wraps.
    fn check_room(&self, scope: &ScopeId) -> Result<(), StoreError> {
        match self.wrapped() {
            Some(wrapped) => wrapped.check_room(scope),
            None => Ok(()),
        }
    }

    /// Takes the key for the token of the request's hold, or says who has it.
    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError>;

    /// Takes back the claim that this token made, or may yet make.
    ///
    /// What the claim took is as it was before: a first attempt without progress is gone, and of a take-over the hold before
    /// it stays, lapsed, with its attempt and its progress. A claim by this token that arrives later takes nothing. A run of
    /// another owner goes on as it is, also one that is lost: it may be late only. The fingerprint is that of the claim. Repeating it
    /// changes nothing.
    async fn withdraw(&self, hold: &Hold, fingerprint: &Fingerprint) -> Result<(), StoreError>;

    /// Lets the hold live for another `hold.lease` from now.
    async fn renew(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError>;

    /// Keeps what the run has done so far, in place of what it kept before; the claim that takes the record over gets
    /// it. The lease stays as it is. Progress that is shorter than what is kept is of an earlier time: it is
    /// [`IfOwner::Done`] and changes nothing.
    async fn checkpoint(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError>;

    /// Ends the hold without an outcome, and keeps what the run has done: the next claim by the same request takes it over
    /// at once. By a token that has done so already it is [`IfOwner::Done`] again.
    async fn suspend(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError>;

    /// Ends the hold with an outcome that is kept for `hold.ttl` from now, and returns when that ends.
    async fn complete(
        &self,
        hold: &Hold,
        outcome: Bytes,
    ) -> Result<IfOwner<SystemTime>, StoreError>;

    /// Ends the hold with nothing: the key is free again.
    async fn release(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError>;

    /// The record under this id, unless it is absent or expired.
    async fn inspect(&self, id: &RecordId) -> Result<Option<Record>, StoreError>;

    /// The unexpired records that the request asks for, in the order of their ids. One that cannot be read is listed too,
    /// whatever else is asked for.
    async fn list(&self, request: &ListRequest) -> Result<Vec<Listed>, StoreError>;

    /// Ends a hold on an operator's word, if `seen` still owns it.
    async fn resolve(
        &self,
        id: &RecordId,
        seen: &Token,
        resolution: Resolution,
    ) -> Result<IfOwner<()>, StoreError>;

    /// Removes up to `limit` records past their time and returns how many there were.
    async fn purge_expired(&self, limit: usize) -> Result<usize, StoreError>;

    /// Listens for the end of the hold on this id, from now on.
    fn subscribe(&self, id: &RecordId) -> Subscription;

    /// The longest outcome, and the longest progress, that can be kept. Of a longer outcome the engine leaves a
    /// tombstone.
    fn outcome_limit(&self) -> usize;
}

/// How a store responds to a step that only the owner of a hold may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfOwner<T> {
    /// The caller is the owner, and the step is taken.
    Done(T),
    /// The caller is not the owner, or no longer; nothing was changed.
    NotOwner,
}

/// How long a token stays spent whose hold an operator has released: longer than any run is renewed.
pub const SPENT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// How many spent tokens of a key a store remembers, at least: as many claims of one client may be on their way at one time.
pub const MAX_SPENT_TOKENS: usize = 8;

/// Refuses bytes of which a store with this limit could keep a part only.
#[cfg(any(
    feature = "firestore",
    feature = "postgres",
    feature = "redis",
    feature = "sqlite"
))]
fn check_length(bytes: &Bytes, limit: usize) -> Result<(), StoreError> {
    match bytes.len() {
        length if length > limit => Err(StoreError::too_large(format!(
            "{length} bytes do not fit a record, {limit} do"
        ))),
        _ => Ok(()),
    }
}
