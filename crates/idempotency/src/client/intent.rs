use std::{fmt, time::SystemTime};

use parking_lot::Mutex;

use super::{
    error::{IntentError, SendError},
    intent_file::IntentFile,
    intent_folder::off_the_runtime,
    intent_record::{Begun, IntentRecord},
    request::RequestForm,
};
use crate::IdempotencyKey;

/// One operation that shall happen once, and its key.
///
/// ```
/// use idempotency::client::Intent;
///
/// let intent = Intent::new();
/// ```
///
/// All requests that are sent under it have the same key, so they have to be the same request. Make a new intent for each
/// operation, and for a corrected request.
pub struct Intent(Place);

enum Place {
    Memory {
        key: IdempotencyKey,
        /// When a key that the application has stored was first used.
        chosen_at: Option<SystemTime>,
        record: Mutex<Option<IntentRecord>>,
    },
    Disk(IntentFile),
}

impl Intent {
    /// An intent with a new random key, which is lost with the program.
    ///
    /// [`IntentFolder::intent`](super::IntentFolder::intent) makes one that survives a crash.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "a default intent would be a new operation each time"
    )]
    pub fn new() -> Self {
        Self::in_memory(random_key(), None)
    }

    /// An intent with a key that the application has chosen, and has stored with its operation before the first attempt.
    ///
    /// ```
    /// use std::time::SystemTime;
    ///
    /// use idempotency::{IdempotencyKey, client::Intent};
    ///
    /// let key = IdempotencyKey::new("order-17/charge")?;
    /// let intent = Intent::with_key(key, SystemTime::now());
    /// # Ok::<(), idempotency::KeyError>(())
    /// ```
    ///
    /// `chosen_at` is when the key was chosen: by it the client knows that the key may have expired. Whether the request is
    /// that of an earlier process, only the service knows, so a refusal that is not stored is always
    /// [`RetryRefused`](super::SendError::RetryRefused). For a key that was stored before give the time that was stored
    /// with it, never the present: it would make an expired key look young.
    #[must_use]
    pub fn with_key(key: IdempotencyKey, chosen_at: SystemTime) -> Self {
        Self::in_memory(key, Some(chosen_at))
    }

    /// Removes the intent from disk, once the application has stored the response or has given the operation up.
    ///
    /// Until then a crash of the client is harmless: the same request under the same id gets the same response. Afterwards
    /// the id stands for a new operation. An intent in memory has nothing to remove.
    ///
    /// # Errors
    ///
    /// If the file cannot be removed.
    pub async fn forget(&self) -> Result<(), IntentError> {
        match &self.0 {
            Place::Memory { .. } => Ok(()),
            Place::Disk(file) => {
                let file = file.clone();
                off_the_runtime(move || file.remove()).await
            }
        }
    }

    pub(super) const fn on_disk(file: IntentFile) -> Self {
        Self(Place::Disk(file))
    }

    const fn in_memory(key: IdempotencyKey, chosen_at: Option<SystemTime>) -> Self {
        Self(Place::Memory {
            key,
            chosen_at,
            record: Mutex::new(None),
        })
    }

    /// The key and what else is known, kept before anything is sent.
    pub(super) async fn begin(
        &self,
        form: RequestForm,
        now: SystemTime,
    ) -> Result<Begun, SendError> {
        let (form, begun) = match &self.0 {
            Place::Memory {
                key,
                chosen_at,
                record,
            } => {
                let mut record = record.lock();
                let is_earlier = record.is_some() || chosen_at.is_some();
                let record = record.get_or_insert_with(|| {
                    IntentRecord::new(key.clone(), chosen_at.unwrap_or(now), &form)
                });
                let record = record.clone();
                (form, Begun { record, is_earlier })
            }
            Place::Disk(file) => {
                let file = file.clone();
                off_the_runtime(move || {
                    let begun = file.begin(|| IntentRecord::new(random_key(), now, &form))?;
                    Ok::<_, IntentError>((form, begun))
                })
                .await?
            }
        };
        if begun.record.is_of(&form) {
            Ok(begun)
        } else {
            Err(SendError::OtherRequest)
        }
    }

    /// Keeps what a response says of the key.
    pub(super) async fn update(&self, changed: &IntentRecord) -> Result<(), IntentError> {
        match &self.0 {
            Place::Memory { record, .. } => {
                *record.lock() = Some(changed.clone());
                Ok(())
            }
            Place::Disk(file) => {
                let (file, changed) = (file.clone(), changed.clone());
                off_the_runtime(move || file.update(&changed)).await
            }
        }
    }
}

/// Without the key, which is a secret.
impl fmt::Debug for Intent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Memory { .. } => formatter.write_str("Intent(in memory)"),
            Place::Disk(file) => formatter.debug_tuple("Intent").field(file).finish(),
        }
    }
}

/// A random UUID: some services accept no other form.
fn random_key() -> IdempotencyKey {
    let random: u128 = rand::random();
    // Version 4, variant 1 of RFC 9562.
    let random = random & !(0xf << 76) | 0x4 << 76;
    let random = random & !(0b11 << 62) | 0b10 << 62;
    let digits = format!("{random:032x}");
    let parts = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)];
    let parts = parts.map(|(from, to)| &digits[from..to]);
    IdempotencyKey::new(&parts.join("-")).expect("digits and hyphens")
}
