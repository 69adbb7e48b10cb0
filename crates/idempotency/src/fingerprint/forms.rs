//! One request's fingerprint in the forms that stores keep.

use super::{Fingerprint, digest};

/// The form of this version, and that of the records which earlier versions have left.
#[derive(Clone, Copy)]
pub(crate) struct Forms {
    current: Fingerprint,
    /// As version 1 made it, and version 2 under another number.
    earlier: Fingerprint,
}

impl Forms {
    /// The client's key goes into each digest and is stored nowhere, so a copy of the store does not give away a guessable body as
    /// long as the key cannot be guessed; with a secret it does not in any case. The record's id has the scope in it, so that equal requests
    /// of two callers have unequal fingerprints.
    pub(crate) fn new(asked: &Fingerprint, secret: &[u8], id: &[u8; 32], key: &[u8]) -> Self {
        let asked = asked.with_version(1);
        let of_record = [b"fingerprint 3".as_slice(), secret, id.as_slice(), key];
        let of_key = [b"fingerprint".as_slice(), secret, key];
        let digest = |parts: &[&[u8]]| digest(parts.iter().copied().chain([asked.0.as_slice()]));
        Self {
            current: Fingerprint::versioned(digest(&of_record)),
            earlier: Fingerprint::versioned(digest(&of_key)).with_version(1),
        }
    }

    /// The form that new records get.
    pub(crate) const fn current(&self) -> Fingerprint {
        self.current
    }

    /// Whether a record's fingerprint is of this request, whichever version has made it.
    pub(crate) fn match_stored(&self, stored: &Fingerprint) -> bool {
        match stored.version() {
            1 | 2 => stored.with_version(1) == self.earlier,
            _ => *stored == self.current,
        }
    }
}

impl Fingerprint {
    const fn with_version(mut self, version: u8) -> Self {
        self.0[0] = version;
        self
    }
}
