//! Distinguishes a retry from a different request: [`Fingerprint`], and functions for the option
//! [`fingerprint`](crate::Options::fingerprint).

mod forms;
mod json;
mod members;
#[cfg(feature = "axum")]
mod multipart;
mod ready;

use std::fmt;

use sha2::{Digest, Sha256};

pub(crate) use forms::Forms;
#[cfg(feature = "axum")]
pub(crate) use multipart::form_parts;

pub(crate) use members::Member;
pub(crate) use members::member;

pub use json::canonical_json;
#[doc(hidden)]
pub use ready::check_paths;
pub use ready::ignore_body;
pub use ready::json_without;

/// A digest of a request, by which the engine distinguishes a retry from a different request with the same key.
///
/// ```
/// use idempotency::Fingerprint;
///
/// let charge = Fingerprint::of([b"charge".as_slice(), b"order-17", b"12.50"]);
/// assert_ne!(charge, Fingerprint::of([b"charge".as_slice(), b"order-17", b"99.00"]));
/// ```
///
/// Stores hold another form of it, which also depends on the secret, the record and the client's key, so it differs for
/// every key and every caller. Without [`with_secret`](crate::IdempotencyBuilder::with_secret), someone with a copy of
/// the store can test guesses of key, principal and body; only a random key prevents that.
///
/// It carries the version of the algorithm. A fingerprint of an unknown version cannot be compared.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; Self::LENGTH]);

impl Fingerprint {
    /// The number of bytes that a store holds: the version and the digest.
    pub const LENGTH: usize = 33;

    /// Version 3 depends on the record that holds it. Version 2 has the same digests as version 1. Each of the three
    /// derives child keys differently.
    const VERSION: u8 = 3;

    /// The digest of these parts. Each is hashed after its length, so `["a", "bc"]` differs from `["ab", "c"]`.
    #[must_use]
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self::versioned(digest(parts))
    }

    /// The fingerprint with these bytes, for stores that read it back.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }

    /// The bytes that a store holds.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }

    /// Whether a difference between the two means another request. It does if this version can make the form of both.
    #[must_use]
    pub const fn comparable(&self, other: &Self) -> bool {
        matches!(self.0[0], 1..=Self::VERSION) && matches!(other.0[0], 1..=Self::VERSION)
    }

    /// The version that made it.
    pub(crate) const fn version(&self) -> u8 {
        self.0[0]
    }

    fn versioned(digest: [u8; 32]) -> Self {
        let mut bytes = [Self::VERSION; Self::LENGTH];
        bytes[1..].copy_from_slice(&digest);
        Self(bytes)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Fingerprint(…)")
    }
}

/// SHA-256 over the parts, each after its length in 64 bits.
pub(crate) fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}
