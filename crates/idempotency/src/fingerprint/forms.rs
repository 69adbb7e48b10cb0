//! The forms in which stores hold one request's fingerprint.

use std::sync::Arc;

use super::{Fingerprint, digest};

/// The form of this version, and the form of records that earlier versions wrote.
#[derive(Clone)]
pub(crate) struct Forms {
    current: Fingerprint,
    /// `None` if it is the same in all versions.
    earlier: Option<Earlier>,
}

/// What the form is made of that version 1 made, and version 2 under another number. It is made when such a record is met.
#[derive(Clone)]
struct Earlier {
    asked: Fingerprint,
    secret: Arc<[u8]>,
    key: Box<str>,
}

impl Forms {
    /// The client's key is part of each digest and is not stored, so a copy of the store does not reveal a guessable
    /// body as long as the key cannot be guessed. With a secret it never does. The record's id includes the scope, so
    /// equal requests of two callers have different fingerprints.
    pub(crate) fn new(
        asked: &Fingerprint,
        secret: &Arc<[u8]>,
        id: &[u8; 32],
        key: Box<str>,
    ) -> Self {
        let asked = asked.with_version(1);
        let current = digest([
            b"fingerprint 3".as_slice(),
            secret,
            id,
            key.as_bytes(),
            &asked.0,
        ]);
        Self {
            current: Fingerprint::versioned(current),
            earlier: Some(Earlier {
                asked,
                secret: Arc::clone(secret),
                key,
            }),
        }
    }

    /// The same form in all versions.
    pub(crate) const fn only(form: Fingerprint) -> Self {
        Self {
            current: form,
            earlier: None,
        }
    }

    /// The form for new records.
    pub(crate) const fn current(&self) -> Fingerprint {
        self.current
    }

    /// Whether a record's fingerprint belongs to this request, whichever version made it.
    pub(crate) fn match_stored(&self, stored: &Fingerprint) -> bool {
        match (stored.version(), &self.earlier) {
            (1 | 2, Some(earlier)) => stored.with_version(1) == earlier.form(),
            (1 | 2, None) => stored.with_version(1) == self.current,
            _ => *stored == self.current,
        }
    }
}

impl Earlier {
    fn form(&self) -> Fingerprint {
        let key = self.key.as_bytes();
        let parts = [b"fingerprint".as_slice(), &self.secret, key, &self.asked.0];
        Fingerprint::versioned(digest(parts)).with_version(1)
    }
}

impl Fingerprint {
    const fn with_version(mut self, version: u8) -> Self {
        self.0[0] = version;
        self
    }
}
