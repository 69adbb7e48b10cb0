//! What a claim asks of a store, and what the store responds.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::{
    Fingerprint,
    labels::Labels,
    record::{RecordId, ScopeId, Token},
};

/// The request of a claim.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ClaimRequest<'a> {
    /// What the caller owns if it wins the claim.
    pub hold: &'a Hold,
    /// The request's fingerprint, in the keyed form in which a store holds it.
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

/// What happens to an equal request after a run's lease has lapsed, when it is not known how much the run did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnLost {
    /// It takes over the key and runs again.
    TakeOver,
    /// It gets 409 until the owner recovers, or an operator determines what happened and
    /// [resolves](crate::Idempotency::resolve) the key; at the latest until the record expires, a ttl after its lease.
    Refuse,
}

/// What a caller owns once it has won its claim.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hold {
    /// The record.
    pub id: RecordId,
    /// Whose record it is. A store that limits each scope's share counts by it; others need not store it.
    pub scope: ScopeId,
    /// The owner.
    pub token: Token,
    /// How long the hold lasts without renewal.
    pub lease: Duration,
    /// How long the outcome is stored after completion, and the record of an abandoned hold after its lease. With a ttl of
    /// zero a hold that is not renewed is gone when its lease lapses: the next claim is attempt 1, also by another request.
    pub ttl: Duration,
    /// The labels by which an operator finds the record. The first claim of a key sets them, and a take-over preserves
    /// them.
    pub labels: Labels,
}

impl Hold {
    /// A hold under this token, with a placeholder scope and without labels; set the other fields afterwards.
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

    /// The same hold, whose outcome is stored for this long.
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
    /// The caller owns the key.
    #[non_exhaustive]
    Won {
        /// 1 for the first run, and one more for each take-over.
        attempt: u32,
        /// What the previous run, or this one if it claims again, stored by
        /// [`Store::checkpoint`](super::Store::checkpoint); empty if nothing.
        progress: Bytes,
    },
    /// Another run holds the key, or its lease has lapsed but its fingerprint differs from this claim's.
    #[non_exhaustive]
    InFlight {
        /// The fingerprint of that run's request.
        fingerprint: Fingerprint,
    },
    /// A run's lease lapsed, and the claim may not take over: whether the run took effect is not known.
    #[non_exhaustive]
    Unknown {
        /// The fingerprint of that run's request.
        fingerprint: Fingerprint,
    },
    /// A run has ended.
    #[non_exhaustive]
    Completed {
        /// The fingerprint of that run's request.
        fingerprint: Fingerprint,
        /// The outcome that it stored.
        outcome: Bytes,
        /// When the outcome expires.
        expires_at: SystemTime,
    },
}

impl Claim {
    /// The caller owns the key: the number of its attempt, 1 for the first, and the progress that the previous attempt
    /// stored.
    #[must_use]
    pub const fn won(attempt: u32, progress: Bytes) -> Self {
        Self::Won { attempt, progress }
    }

    /// Another run holds the key, for a request with this fingerprint.
    #[must_use]
    pub const fn in_flight(fingerprint: Fingerprint) -> Self {
        Self::InFlight { fingerprint }
    }

    /// The lease of a run with this fingerprint has lapsed, and the claim does not take over.
    #[must_use]
    pub const fn unknown(fingerprint: Fingerprint) -> Self {
        Self::Unknown { fingerprint }
    }

    /// A run with this fingerprint stored this outcome, which expires then.
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
