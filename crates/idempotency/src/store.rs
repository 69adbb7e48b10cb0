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
//!    token that completed the record is [`Fenced::Done`] again, so that a lost reply can be retried;
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
//! [`MemoryStore`] is the shortest complete example.

mod debug;
#[cfg(feature = "firestore")]
mod firestore;
mod memory;
mod polling;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
mod share;
mod spent;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(any(feature = "firestore", feature = "redis"))]
mod tls;
pub(crate) mod transaction;
mod wakeups;

use std::{
    any::Any,
    error::Error,
    fmt,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;

#[cfg(feature = "firestore")]
pub use firestore::FirestoreConflict;
#[cfg(feature = "firestore")]
pub use firestore::FirestoreDatabase;
#[cfg(feature = "firestore")]
pub use firestore::FirestoreError;
#[cfg(feature = "firestore")]
pub use firestore::FirestorePrecondition;
#[cfg(feature = "firestore")]
pub use firestore::FirestoreStore;
#[cfg(feature = "firestore")]
pub use firestore::FirestoreTransaction;
pub use memory::MemoryStore;
pub use polling::Polling;
#[cfg(feature = "postgres")]
pub use postgres::PostgresError;
#[cfg(feature = "postgres")]
pub use postgres::PostgresStore;
#[cfg(feature = "redis")]
pub use redis::RedisError;
#[cfg(feature = "redis")]
pub use redis::RedisStore;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteDatabase;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteError;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteTransaction;
pub use transaction::Transaction;
pub use wakeups::Subscription;
pub use wakeups::Wakeups;

use crate::{Fingerprint, Listed, OnLost, Record, RecordId, ScopeId, Token};

/// Something that remembers keys. See the [module docs](self) for what an implementation promises.
#[async_trait]
pub trait Store: Any + fmt::Debug + Send + Sync {
    /// Whether a new key of this scope would find room now, without waiting. A run is asked for that claims nothing before its
    /// transaction commits.
    fn check_room(&self, scope: &ScopeId) -> Result<(), StoreError> {
        let _ = scope;
        Ok(())
    }

    /// Takes the key for `hold.token`, or says who has it. `on_lost` says whether a lapsed hold may be taken over.
    async fn claim(
        &self,
        hold: &Hold,
        fingerprint: &Fingerprint,
        on_lost: OnLost,
    ) -> Result<Claim, StoreError>;

    /// Takes back the claim that this token made, or may yet make.
    ///
    /// What the claim took is as it was before: a first attempt without progress is gone, and of a take-over the hold before
    /// it stays, lapsed, with its attempt and its progress. A claim by this token that arrives later takes nothing. A run of
    /// another owner goes on as it is, also one that is lost: it may be late only. The fingerprint is that of the claim. Repeating it
    /// changes nothing.
    async fn withdraw(&self, hold: &Hold, fingerprint: &Fingerprint) -> Result<(), StoreError>;

    /// Lets the hold live for another `hold.lease` from now.
    async fn renew(&self, hold: &Hold) -> Result<Fenced<()>, StoreError>;

    /// Keeps what the run has done so far, in place of what it kept before; the claim that takes the record over gets
    /// it. The lease stays as it is. Progress that is shorter than what is kept is of an earlier time: it is
    /// [`Fenced::Done`] and changes nothing.
    async fn checkpoint(&self, hold: &Hold, progress: Bytes) -> Result<Fenced<()>, StoreError>;

    /// Ends the hold without an outcome, and keeps what the run has done: the next claim by the same request takes it over
    /// at once. By a token that has done so already it is [`Fenced::Done`] again.
    async fn suspend(&self, hold: &Hold, progress: Bytes) -> Result<Fenced<()>, StoreError>;

    /// Ends the hold with an outcome that is kept for `hold.ttl` from now, and returns when that ends.
    async fn complete(&self, hold: &Hold, outcome: Bytes)
    -> Result<Fenced<SystemTime>, StoreError>;

    /// Ends the hold with nothing: the key is free again.
    async fn release(&self, hold: &Hold) -> Result<Fenced<()>, StoreError>;

    /// The record under this id, unless it is absent or expired.
    async fn inspect(&self, id: &RecordId) -> Result<Option<Record>, StoreError>;

    /// Up to `limit` unexpired records in the order of their ids, those behind `after` only. One that cannot be read is
    /// listed too.
    async fn list(&self, after: Option<&RecordId>, limit: usize)
    -> Result<Vec<Listed>, StoreError>;

    /// Ends a hold on an operator's word, if `seen` still owns it.
    async fn resolve(
        &self,
        id: &RecordId,
        seen: &Token,
        resolution: Resolution,
    ) -> Result<Fenced<()>, StoreError>;

    /// Removes up to `limit` records past their time and returns how many there were.
    async fn purge_expired(&self, limit: usize) -> Result<usize, StoreError>;

    /// Listens for the end of the hold on this id, from now on.
    fn subscribe(&self, id: &RecordId) -> Subscription;

    /// The longest outcome, and the longest progress, that can be kept. Of a longer outcome the engine leaves a
    /// tombstone.
    fn outcome_limit(&self) -> usize;
}

/// What a caller owns once its claim is won.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The record.
    pub id: RecordId,
    /// Whose record it is. A store that shares out its room counts by this; others need not keep it.
    pub scope: ScopeId,
    /// The owner.
    pub token: Token,
    /// How long the hold lives without renewal.
    pub lease: Duration,
    /// How long the outcome is kept after completion.
    pub ttl: Duration,
}

/// The answer to a claim.
#[derive(Clone, PartialEq, Eq)]
pub enum Claim {
    /// The key is the caller's.
    Won {
        /// 1 for the first run, one more for each take-over.
        attempt: u32,
        /// What the run before, or this one if it claims again, has left by [`Store::checkpoint`]; empty if nothing.
        progress: Bytes,
    },
    /// Another run owns the key; or owned it, and asked for something else than this claim does.
    InFlight {
        /// What that run was asked.
        fingerprint: Fingerprint,
    },
    /// A run's lease lapsed, and the claim was not to take over: whether the run took effect is not known.
    Unknown {
        /// What that run was asked.
        fingerprint: Fingerprint,
    },
    /// A run has ended.
    Completed {
        /// What that run was asked.
        fingerprint: Fingerprint,
        /// What it left.
        outcome: Bytes,
        /// When that is forgotten.
        expires_at: SystemTime,
    },
}

/// The answer to a step that only the owner may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fenced<T> {
    /// The caller is the owner, and the step is taken.
    Done(T),
    /// The caller is not the owner, or no longer; nothing was changed.
    Lost,
}

/// What an operator does with a hold whose owner will not come back.
#[derive(Clone, PartialEq, Eq)]
pub enum Resolution {
    /// Free the key: the next request with it runs.
    Release,
    /// End the run as if it had left this outcome.
    Complete {
        /// Bytes that the engine can read.
        outcome: Bytes,
        /// How long they are kept, from now.
        ttl: Duration,
    },
}

/// Why a store could not answer.
///
/// The engine turns each into a refusal and runs nothing, so a client may simply try again.
#[derive(Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    was_sent: bool,
    source: Box<dyn Error + Send + Sync>,
}

/// The kinds of [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The store was not reached, or failed; the step may have been taken.
    Unavailable,
    /// The record is there but cannot be read: another version wrote it, or it is damaged.
    Unreadable,
    /// The store is at its limit and takes no new keys until old ones expire.
    Full,
    /// The claim's scope uses its share of the store, and gets no new keys until old ones expire. Nothing was changed.
    ScopeFull,
    /// The claim's token is spent: the claim was withdrawn, or its hold released. Nothing was changed.
    Withdrawn,
    /// The outcome, or the progress, is longer than [`Store::outcome_limit`]. Nothing was changed.
    TooLarge,
}

impl StoreError {
    /// The store was not reached, or failed.
    pub fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind: StoreErrorKind::Unavailable,
            was_sent: true,
            source: source.into(),
        }
    }

    /// The store was not reached, or undid all: the step was not taken and will not be.
    pub fn unreached(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            was_sent: false,
            ..Self::unavailable(source)
        }
    }

    /// The record cannot be read.
    pub fn unreadable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind: StoreErrorKind::Unreadable,
            was_sent: true,
            source: source.into(),
        }
    }

    /// The store takes no new keys.
    pub fn full(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind: StoreErrorKind::Full,
            was_sent: true,
            source: source.into(),
        }
    }

    /// The store takes no new keys of this scope.
    pub fn scope_full(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind: StoreErrorKind::ScopeFull,
            was_sent: true,
            source: source.into(),
        }
    }

    /// The outcome, or the progress, is longer than the store can keep.
    pub fn too_large(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            kind: StoreErrorKind::TooLarge,
            was_sent: true,
            source: source.into(),
        }
    }

    /// The claim's token is spent.
    #[must_use]
    pub fn withdrawn() -> Self {
        Self {
            kind: StoreErrorKind::Withdrawn,
            was_sent: true,
            source: "its token was given back before it arrived".into(),
        }
    }

    /// Whether the call may have been sent, so that a claim has to be withdrawn; see [`unreached`](Self::unreached).
    #[must_use]
    pub const fn was_sent(&self) -> bool {
        self.was_sent
    }

    /// As it is, but sent if an earlier try of the same call was.
    #[cfg(feature = "postgres")]
    fn was_sent_if(mut self, earlier: bool) -> Self {
        self.was_sent |= earlier;
        self
    }

    /// What went wrong.
    #[must_use]
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.kind {
            StoreErrorKind::Unavailable => "the idempotency store did not answer",
            StoreErrorKind::Unreadable => {
                "the idempotency store holds a record that cannot be read"
            }
            StoreErrorKind::Full => "the idempotency store is full",
            StoreErrorKind::ScopeFull => "the scope uses its share of the idempotency store",
            StoreErrorKind::Withdrawn => "the claim was withdrawn",
            StoreErrorKind::TooLarge => "the outcome is too large for the idempotency store",
        })
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.source.as_ref())
    }
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
