use std::{
    fmt,
    hash::{Hash, Hasher},
    time::SystemTime,
};

use bytes::Bytes;

use crate::{Fingerprint, labels::Labels, random};

/// What a store holds for one key of one scope.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// The name under which the store holds it.
    pub id: RecordId,
    /// The request's fingerprint, in the keyed form that the engine passes to stores.
    pub fingerprint: Fingerprint,
    /// The owner of the hold, or of the completed run.
    pub token: Token,
    /// 1 for the first run, and one more for each take-over.
    pub attempt: u32,
    /// When the record expires: a completed record at the end of its ttl, one in flight a ttl after its lease lapses.
    pub expires_at: SystemTime,
    /// In flight, or completed.
    pub phase: Phase,
    /// When the key was first claimed, or its transaction committed. Records of earlier versions lack it.
    pub created_at: Option<SystemTime>,
    /// When the run was completed, if it was and the record says so.
    pub completed_at: Option<SystemTime>,
    /// Where its request came from.
    pub labels: Labels,
}

impl Record {
    /// A record without times and labels; set the fields that are known afterwards.
    #[must_use]
    pub fn new(
        id: RecordId,
        fingerprint: Fingerprint,
        token: Token,
        attempt: u32,
        expires_at: SystemTime,
        phase: Phase,
    ) -> Self {
        Self {
            id,
            fingerprint,
            token,
            attempt,
            expires_at,
            phase,
            created_at: None,
            completed_at: None,
            labels: Labels::default(),
        }
    }
}

/// Where a record is between its claim and its end.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// A run owns the key.
    InFlight {
        /// When the hold lapses unless it is renewed.
        lease_until: SystemTime,
        /// The run's progress so far, for a take-over; empty if it stored none.
        progress: Bytes,
    },
    /// A run has ended and stored this outcome.
    Completed {
        /// Bytes that only the engine can read.
        outcome: Bytes,
    },
}

/// Prints only the length: a response belongs to its caller and must not get into a log.
pub(crate) struct Redacted<'a>(pub(crate) &'a Bytes);

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "({} bytes)", self.0.len())
    }
}

impl fmt::Debug for Phase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InFlight {
                lease_until,
                progress,
            } => formatter
                .debug_struct("InFlight")
                .field("lease_until", lease_until)
                .field("progress", &Redacted(progress))
                .finish(),
            Self::Completed { outcome } => formatter
                .debug_struct("Completed")
                .field("outcome", &Redacted(outcome))
                .finish(),
        }
    }
}

/// The name of a record: a digest of secret, namespace, scope and key.
///
/// Without [`with_secret`](crate::IdempotencyBuilder::with_secret), someone with a copy of the store can test guesses:
/// a key like `order-1042` is found at once, and then the scope, such as the password of Basic credentials. A random
/// key cannot be guessed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordId([u8; 32]);

impl RecordId {
    /// The id with these bytes, for stores that read it back.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes that a store holds.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Half of a digest differs as surely as the whole, and maps are read with each request.
impl Hash for RecordId {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write(&self.0[16..]);
    }
}

/// Sixteen hexadecimal digits: enough to find the record, and all that logs say about a key.
impl fmt::Display for RecordId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8]
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RecordId({self}…)")
    }
}

/// Whose record it is: a digest of namespace and scope, from which neither can be read.
///
/// Two scopes with the same digest share one share of a store, and nothing else.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScopeId([u8; 8]);

impl ScopeId {
    /// The id with these bytes, for stores that read it back.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The bytes that a store holds.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

/// Sixteen hexadecimal digits: all that logs say about a scope.
impl fmt::Display for ScopeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for ScopeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ScopeId({self})")
    }
}

/// The owner of a hold: 128 random bits, made by the caller, fresh for each claim.
///
/// Because the caller makes it, a claim that is sent again after a lost reply is recognised as the same. Because it is
/// never reused, the token of a dead owner matches no later record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token([u8; 16]);

impl Token {
    /// A new random token.
    #[must_use]
    pub fn random() -> Self {
        Self(random::bytes())
    }

    /// The token with these bytes, for stores that read it back.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes that a store holds.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(…)")
    }
}
