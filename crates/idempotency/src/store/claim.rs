//! What a claim asks of a store, and what the store responds.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::{Fingerprint, Labels, RecordId, ScopeId, Token};

/// What a claim asks for.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ClaimRequest<'a> {
    /// What the caller owns if the claim is won.
    pub hold: &'a Hold,
    /// What the request asks, in the keyed form in which a store keeps it.
    pub fingerprint: &'a Fingerprint,
    /// Whether the claim takes over a hold that has lapsed.
    pub on_lost: OnLost,
}

impl<'a> ClaimRequest<'a> {
    /// A claim of this hold.
    #[must_use]
    pub const fn new(hold: &'a Hold, fingerprint: &'a Fingerprint, on_lost: OnLost) -> Self {
        Self {
            hold,
            fingerprint,
            on_lost,
        }
    }
}

/// What the same request gets once a run's lease has lapsed, so that nobody knows how far the run came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnLost {
    /// The key: it runs again.
    TakeOver,
    /// 409, until the owner comes back after all, or an operator finds out what happened and
    /// [resolves](crate::Idempotency::resolve) it; at the latest until the record is forgotten, a ttl after its lease.
    Refuse,
}

/// What a caller owns once its claim is won.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
    /// What an operator finds the record by. The first claim of a key sets the labels of its record, and a take-over keeps them.
    pub labels: Labels,
}

impl Hold {
    /// A hold under this token, of no scope and without labels; the fields that matter are set afterwards.
    #[must_use]
    pub fn new(id: RecordId, token: Token, lease: Duration, ttl: Duration) -> Self {
        Self {
            id,
            scope: ScopeId::from_bytes([0; 8]),
            token,
            lease,
            ttl,
            labels: Labels::default(),
        }
    }

    /// The same hold, counted for this scope.
    #[must_use]
    pub fn with_scope(mut self, scope: ScopeId) -> Self {
        self.scope = scope;
        self
    }

    /// The same hold, under another token.
    #[must_use]
    pub fn with_token(mut self, token: Token) -> Self {
        self.token = token;
        self
    }

    /// The same hold, with this lease.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// The same hold, whose outcome is kept for this long.
    #[must_use]
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// The same hold, whose record has these labels.
    #[must_use]
    pub fn with_labels(mut self, labels: Labels) -> Self {
        self.labels = labels;
        self
    }
}

/// How a store responds to a claim.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Claim {
    /// The key is the caller's.
    #[non_exhaustive]
    Won {
        /// 1 for the first run, one more for each take-over.
        attempt: u32,
        /// What the run before, or this one if it claims again, has left by [`Store::checkpoint`](super::Store::checkpoint); empty if nothing.
        progress: Bytes,
    },
    /// Another run holds the key, or its lease has lapsed but its fingerprint differs from this claim's.
    #[non_exhaustive]
    InFlight {
        /// What that run was asked.
        fingerprint: Fingerprint,
    },
    /// A run's lease lapsed, and the claim was not to take over: whether the run took effect is not known.
    #[non_exhaustive]
    Unknown {
        /// What that run was asked.
        fingerprint: Fingerprint,
    },
    /// A run has ended.
    #[non_exhaustive]
    Completed {
        /// What that run was asked.
        fingerprint: Fingerprint,
        /// What it left.
        outcome: Bytes,
        /// When that is forgotten.
        expires_at: SystemTime,
    },
}

impl Claim {
    /// The key is the caller's: its attempt, 1 for the first, and what the attempt before it left by a checkpoint.
    #[must_use]
    pub const fn won(attempt: u32, progress: Bytes) -> Self {
        Self::Won { attempt, progress }
    }

    /// Another run has the key, for this fingerprint.
    #[must_use]
    pub const fn in_flight(fingerprint: Fingerprint) -> Self {
        Self::InFlight { fingerprint }
    }

    /// The lease of a run with this fingerprint has lapsed, and the claim does not take over.
    #[must_use]
    pub const fn unknown(fingerprint: Fingerprint) -> Self {
        Self::Unknown { fingerprint }
    }

    /// A run with this fingerprint has left this outcome, which is kept until then.
    #[must_use]
    pub const fn completed(
        fingerprint: Fingerprint,
        outcome: Bytes,
        expires_at: SystemTime,
    ) -> Self {
        Self::Completed {
            fingerprint,
            outcome,
            expires_at,
        }
    }
}
