//! Encrypts what a store keeps of a run, bound to the record that it belongs to.

use std::fmt;

use bytes::{BufMut, Bytes};
use chacha20poly1305::{
    KeyInit, Tag, XChaCha20Poly1305, XNonce,
    aead::{AeadInOut, inout::InOutBuf},
};

use crate::{fingerprint::digest, record::RecordId};

/// The first byte of what is sealed.
const SEALED: u8 = 0xA5;

const KEY_ID_LENGTH: usize = 4;
const NONCE_LENGTH: usize = 24;
const TAG_LENGTH: usize = 16;
const HEADER_LENGTH: usize = 1 + KEY_ID_LENGTH + NONCE_LENGTH;

/// By how much sealed bytes are longer.
pub(crate) const SEAL_LENGTH: usize = HEADER_LENGTH + TAG_LENGTH;

/// What the bytes are. Bytes of one kind cannot be opened as the other.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sealed {
    Outcome = 1,
    Progress = 2,
}

/// A key made of the engine's secret.
pub(crate) struct SealingKey {
    /// Says which key opens the bytes.
    id: [u8; KEY_ID_LENGTH],
    cipher: XChaCha20Poly1305,
}

impl SealingKey {
    pub(crate) fn of_secret(secret: &[u8]) -> Self {
        let [a, b, c, d, ..] = digest([b"sealing key's id 1".as_slice(), secret]);
        let key = digest([b"sealing key 1".as_slice(), secret]);
        Self {
            id: [a, b, c, d],
            cipher: XChaCha20Poly1305::new(&key.into()),
        }
    }

    /// Encrypts these bytes of this record.
    pub(crate) fn seal(&self, kind: Sealed, record: &RecordId, plain: &[u8]) -> Bytes {
        let mut nonce = [0; NONCE_LENGTH];
        // So long that random ones do not repeat.
        rand::fill(&mut nonce);
        let mut bytes = Vec::with_capacity(SEAL_LENGTH + plain.len());
        bytes.put_u8(SEALED);
        bytes.put_slice(&self.id);
        bytes.put_slice(&nonce);
        bytes.put_slice(plain);
        let (_, message) = bytes.split_at_mut(HEADER_LENGTH);
        let tag = self
            .cipher
            .encrypt_inout_detached(
                &XNonce::from(nonce),
                &context(kind, record),
                InOutBuf::from(message),
            )
            .expect("a message is shorter than 256 GiB");
        bytes.put_slice(&tag);
        bytes.into()
    }

    /// Whether this key sealed the bytes, by what their header says.
    pub(crate) fn sealed(&self, stored: &[u8]) -> bool {
        stored.get(1..=KEY_ID_LENGTH) == Some(&self.id)
    }

    /// Decrypts what [`seal`](Self::seal) made for the same record; `None` where it did not make these bytes for it.
    pub(crate) fn open(&self, kind: Sealed, record: &RecordId, stored: &[u8]) -> Option<Bytes> {
        let (header, sealed) = stored.split_at_checked(HEADER_LENGTH)?;
        let (message, tag) = sealed.split_at_checked(sealed.len().checked_sub(TAG_LENGTH)?)?;
        let nonce = XNonce::try_from(header.get(1 + KEY_ID_LENGTH..)?).ok()?;
        let tag = Tag::try_from(tag).ok()?;
        let mut plain = message.to_vec();
        self.cipher
            .decrypt_inout_detached(
                &nonce,
                &context(kind, record),
                InOutBuf::from(plain.as_mut_slice()),
                &tag,
            )
            .ok()?;
        Some(plain.into())
    }
}

/// Whether these bytes are sealed. What a service without a secret stores begins with its version, which is a small number.
pub(crate) fn is_sealed(stored: &[u8]) -> bool {
    stored.first() == Some(&SEALED)
}

/// What the bytes belong to: with another context they cannot be decrypted.
fn context(kind: Sealed, record: &RecordId) -> [u8; 33] {
    let mut context = [kind as u8; 33];
    context[1..].copy_from_slice(record.as_bytes());
    context
}

/// Without the key.
impl fmt::Debug for SealingKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SealingKey").finish_non_exhaustive()
    }
}
