//! The forms in which stores hold one request's fingerprint.

use super::{Fingerprint, digest};

/// The form of this version, and the form of records that earlier versions wrote.
#[derive(Clone, Copy)]
pub(crate) struct Forms {
    current: Fingerprint,
    /// The form that version 1 made, and version 2 under another number.
    earlier: Fingerprint,
}

impl Forms {
    /// The client's key is part of each digest and is not stored, so a copy of the store does not reveal a guessable
    /// body as long as the key cannot be guessed. With a secret it never does. The record's id includes the scope, so
    /// equal requests of two callers have different fingerprints.
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

    /// The same form in all versions.
    pub(crate) const fn only(form: Fingerprint) -> Self {
        Self {
            current: form,
            earlier: form,
        }
    }

    /// The form for new records.
    pub(crate) const fn current(&self) -> Fingerprint {
        self.current
    }

    /// Whether a record's fingerprint belongs to this request, whichever version made it.
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
