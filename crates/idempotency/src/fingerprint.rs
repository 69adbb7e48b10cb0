mod json;
#[cfg(feature = "axum")]
mod multipart;

use std::fmt;

use sha2::{Digest, Sha256};

#[cfg(feature = "axum")]
pub(crate) use multipart::form_parts;

pub use json::canonical_json;

/// A digest of what was asked, by which a retry is told from another request under the same key.
///
/// ```
/// use idempotency::Fingerprint;
///
/// let charge = Fingerprint::of([b"charge".as_slice(), b"order-17", b"12.50"]);
/// assert_ne!(charge, Fingerprint::of([b"charge".as_slice(), b"order-17", b"99.00"]));
/// ```
///
/// It carries the version of the algorithm: fingerprints of two versions cannot be compared.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; Self::LENGTH]);

impl Fingerprint {
    /// The number of bytes that a store keeps: the version, and the digest.
    pub const LENGTH: usize = 33;

    /// Version 2 has the digests of version 1; child keys are derived otherwise.
    const VERSION: u8 = 2;

    /// The digest of these parts; each is hashed behind its length, so `["a", "bc"]` is not `["ab", "c"]`.
    #[must_use]
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self::versioned(digest(parts))
    }

    /// The fingerprint with these bytes, for stores that read it back.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }

    /// The bytes that a store keeps.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }

    /// Whether a difference between the two means another request: this version can make the form of both.
    #[must_use]
    pub const fn comparable(&self, other: &Self) -> bool {
        matches!(self.0[0], 1 | Self::VERSION) && matches!(other.0[0], 1 | Self::VERSION)
    }

    /// The form that stores keep. The client's key goes into the digest and is itself kept nowhere, so who
    /// reads a stored fingerprint cannot find a guessable body by trying.
    pub(crate) fn keyed(&self, secret: &[u8], key: &[u8]) -> Self {
        let asked = self.earlier();
        Self::versioned(digest([b"fingerprint".as_slice(), secret, key, &asked.0]))
    }

    /// What version 1 makes of the same request.
    pub(crate) fn earlier(mut self) -> Self {
        self.0[0] = 1;
        self
    }

    /// Whether version 1 has made it.
    #[cfg(feature = "axum")]
    pub(crate) fn is_earlier(&self) -> bool {
        self.0[0] == 1
    }

    /// Whether both are of the same request, also where version 1 has made one of them.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self == other || self.comparable(other) && self.earlier() == other.earlier()
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

/// SHA-256 over the parts, each behind its length in 64 bits.
pub(crate) fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}
