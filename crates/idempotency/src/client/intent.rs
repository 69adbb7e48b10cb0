use std::{fmt, io, time::SystemTime};

use parking_lot::Mutex;

use super::{
    disk::{io_error, off_the_runtime},
    error::{IntentError, SendError},
    intent_file::IntentFile,
    intent_record::{Begun, IntentRecord},
    moment::Moment,
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
        known: Mutex<Known>,
    },
    Disk {
        file: IntentFile,
        known: Mutex<Known>,
    },
}

/// What this process knows of an intent.
#[derive(Debug, Default)]
struct Known {
    /// What it has begun.
    record: Option<IntentRecord>,
    is_finished: bool,
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
    /// # Ok::<(), idempotency::key::KeyError>(())
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

    /// Marks the operation as done, once the application has stored the response or has given the operation up.
    ///
    /// Until then a crash of the client is harmless: the same request under the same id gets the same response. Afterwards
    /// nothing is sent under it any more, in any process: [`SendError::Finished`]. An intent on disk stays there, without room
    /// for a second operation, until [`remove_finished`](super::IntentFolder::remove_finished) or [`forget`](Self::forget).
    ///
    /// An intent that was never begun, or was forgotten, is left as it is.
    ///
    /// # Errors
    ///
    /// If that cannot be written. Then it is as if it had not been called.
    pub async fn finish(&self) -> Result<(), IntentError> {
        match &self.0 {
            Place::Memory { known, .. } => {
                known.lock().is_finished = true;
                Ok(())
            }
            Place::Disk { file, known } => {
                let key = known.lock().key();
                let file = file.clone();
                off_the_runtime(move || match file.read()? {
                    // Another process may have begun a new operation under this id.
                    Some(record) if key.is_none_or(|key| key == record.key) => file.finish(&record),
                    Some(_) | None => Ok(()),
                })
                .await
            }
        }
    }

    /// Removes the intent from disk, so that its id can be used for a new operation.
    ///
    /// Call it where you want the operation a second time, or know that it has not happened, such as after
    /// [`SendError::Expired`]. If another process still sends this intent, both operations may happen; otherwise
    /// [`finish`](Self::finish) it. An intent in memory has nothing to remove, and keeps its key.
    ///
    /// # Errors
    ///
    /// If it cannot be removed.
    pub async fn forget(&self) -> Result<(), IntentError> {
        match &self.0 {
            Place::Memory { .. } => Ok(()),
            Place::Disk { file, known } => {
                let key = known.lock().key();
                let file = file.clone();
                off_the_runtime(move || file.remove(key.as_ref())).await?;
                *known.lock() = Known::default();
                Ok(())
            }
        }
    }

    pub(super) fn on_disk(file: IntentFile) -> Self {
        Self(Place::Disk {
            file,
            known: Mutex::default(),
        })
    }

    fn in_memory(key: IdempotencyKey, chosen_at: Option<SystemTime>) -> Self {
        Self(Place::Memory {
            key,
            chosen_at,
            known: Mutex::default(),
        })
    }

    /// The key and what else is known, kept before anything is sent.
    pub(super) async fn begin(&self, form: RequestForm, now: Moment) -> Result<Begun, SendError> {
        let (form, begun) = match &self.0 {
            Place::Memory {
                key,
                chosen_at,
                known,
            } => {
                let mut known = known.lock();
                let is_earlier = known.record.is_some() || chosen_at.is_some();
                let is_finished = known.is_finished;
                let record = known.record.get_or_insert_with(|| match *chosen_at {
                    Some(chosen_at) => IntentRecord::chosen(key.clone(), chosen_at, &form),
                    None => IntentRecord::new(key.clone(), now, &form),
                });
                let begun = Begun {
                    record: record.clone(),
                    is_earlier,
                    is_finished,
                };
                (form, begun)
            }
            Place::Disk { file, known } => {
                let file = file.clone();
                let earlier = known.lock().record.clone();
                let (form, begun) = off_the_runtime(move || {
                    let Some(earlier) = earlier else {
                        let begun = file.begin(|| IntentRecord::new(random_key(), now, &form))?;
                        return Ok((form, begun));
                    };
                    // If it was forgotten elsewhere, that asks this process for no new operation.
                    let mut begun = file.resume(&earlier.key)?.ok_or(SendError::Finished)?;
                    begun.record.recall(&earlier);
                    Ok::<_, SendError>((form, begun))
                })
                .await?;
                known.lock().record = Some(begun.record.clone());
                (form, begun)
            }
        };
        if !begun.record.is_of(&form) {
            Err(SendError::OtherRequest)
        } else if begun.is_finished {
            Err(SendError::Finished)
        } else {
            Ok(begun)
        }
    }

    /// Keeps what a response says of the key's end.
    pub(super) async fn keep_expiry(&self, changed: &IntentRecord) -> Result<(), IntentError> {
        let (Place::Memory { known, .. } | Place::Disk { known, .. }) = &self.0;
        if let Some(record) = &mut known.lock().record
            && record.key == changed.key
        {
            record.expiry = changed.expiry;
        }
        match &self.0 {
            Place::Memory { .. } => Ok(()),
            Place::Disk { file, .. } => {
                let (file, changed) = (file.clone(), changed.clone());
                off_the_runtime(move || file.keep_expiry(&changed)).await
            }
        }
    }

    /// The error if the disk has not responded within the deadline.
    pub(super) fn timed_out(&self) -> IntentError {
        let path = match &self.0 {
            Place::Memory { .. } => std::path::Path::new("memory"),
            Place::Disk { file, .. } => file.folder(),
        };
        io_error(path, io::ErrorKind::TimedOut.into())
    }
}

impl Known {
    fn key(&self) -> Option<IdempotencyKey> {
        self.record.as_ref().map(|record| record.key.clone())
    }
}

/// Without the key, which is a secret.
impl fmt::Debug for Intent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Memory { .. } => formatter.write_str("Intent(in memory)"),
            Place::Disk { file, .. } => formatter.debug_tuple("Intent").field(file).finish(),
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
