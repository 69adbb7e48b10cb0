//! The SHA-256 of a token, which is all that the file has of it. Tokens are random, so a slow hash would not protect them better.

use std::{fmt, hint::black_box};

use sha2::{Digest as _, Sha256};

/// How many digits the log shows.
const SHOWN: usize = 12;

/// The SHA-256 of a token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Digest([u8; 32]);

impl Digest {
    pub(crate) fn of(token: &[u8]) -> Self {
        Self(Sha256::digest(token).into())
    }

    /// Reads 64 hexadecimal digits.
    pub(super) fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        let mut bytes = [0; 32];
        for (place, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * place..2 * place + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }

    pub(super) fn to_hex(self) -> String {
        self.0.map(|byte| format!("{byte:02x}")).concat()
    }

    /// Compares every byte, so that the time taken does not reveal how many were right.
    pub(super) fn is_equal(&self, other: &Self) -> bool {
        let pairs = self.0.iter().zip(&other.0);
        black_box(pairs.fold(0, |differing, (one, other)| differing | (one ^ other))) == 0
    }
}

/// The first digits, by which a line of the file is found.
impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.to_hex()[..SHOWN])
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}
