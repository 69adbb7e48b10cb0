//! What is known of an intent that was begun, and how it is written.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{moment::Moment, request::RequestForm};
use crate::{IdempotencyKey, fingerprint::digest};

#[derive(Clone, Debug)]
pub(super) struct IntentRecord {
    pub(super) key: IdempotencyKey,
    pub(super) begun_at: SystemTime,
    /// The same by both clocks, if this process has begun it.
    pub(super) begun_here: Option<Moment>,
    /// The digest of its request, with the key.
    request: [u8; 32],
    pub(super) expiry: Option<Expiry>,
}

/// What the service has said of the end of a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expiry {
    /// When it said so.
    pub(super) told_at: SystemTime,
    /// The same by both clocks, if it has told this process.
    pub(super) told_here: Option<Moment>,
    /// When it forgets the key, by the clock of this machine at the time.
    pub(super) expires_at: SystemTime,
}

/// A record, and what may have happened to it before.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) record: IntentRecord,
    /// Whether an attempt may have been sent before.
    pub(super) is_earlier: bool,
    pub(super) is_finished: bool,
}

impl IntentRecord {
    pub(super) fn new(key: IdempotencyKey, begun: Moment, form: &RequestForm) -> Self {
        Self {
            begun_here: Some(begun),
            ..Self::chosen(key, begun.wall, form)
        }
    }

    /// That of a key which the application has chosen, in this process or in an earlier one.
    pub(super) fn chosen(key: IdempotencyKey, chosen_at: SystemTime, form: &RequestForm) -> Self {
        Self {
            request: form.digest(&key),
            key,
            begun_at: chosen_at,
            begun_here: None,
            expiry: None,
        }
    }

    pub(super) fn is_of(&self, form: &RequestForm) -> bool {
        self.request == form.digest(&self.key)
    }

    /// Takes over what this process knows of the same key, besides what is written.
    pub(super) fn recall(&mut self, known: &Self) {
        if self.key != known.key {
            return;
        }
        self.begun_here = known.begun_here;
        if known.expiry.is_some() {
            self.expiry = known.expiry;
        }
    }

    /// The name of the key, as part of the names of the files about it.
    pub(super) fn key_name(&self) -> String {
        let digest = hex(&digest([
            b"intent key 1".as_slice(),
            self.key.expose().as_bytes(),
        ]));
        digest[..16].to_owned()
    }

    pub(super) fn to_text(&self, id: &str) -> String {
        text(&Written {
            version: VERSION,
            intent: id.to_owned(),
            key: self.key.expose().to_owned(),
            begun_at_ms: milliseconds(self.begun_at),
            request: hex(&self.request),
        })
    }

    /// `None` if this is not the text of an intent, or the intent has another id.
    pub(super) fn from_text(bytes: &[u8], id: Option<&str>) -> Option<Self> {
        let written: Written = read(bytes)?;
        if written.version != VERSION || id.is_some_and(|id| written.intent != id) {
            return None;
        }
        Some(Self {
            key: IdempotencyKey::new(&written.key).ok()?,
            begun_at: time(written.begun_at_ms)?,
            begun_here: None,
            request: from_hex(&written.request)?,
            expiry: None,
        })
    }
}

impl Expiry {
    pub(super) fn to_text(self) -> String {
        text(&WrittenExpiry {
            told_at_ms: milliseconds(self.told_at),
            expires_at_ms: milliseconds(self.expires_at),
        })
    }

    pub(super) fn from_text(bytes: &[u8]) -> Option<Self> {
        let written: WrittenExpiry = read(bytes)?;
        Some(Self {
            told_at: time(written.told_at_ms)?,
            told_here: None,
            expires_at: time(written.expires_at_ms)?,
        })
    }
}

const VERSION: u32 = 1;

#[derive(Deserialize, Serialize)]
struct Written {
    version: u32,
    intent: String,
    key: String,
    begun_at_ms: u64,
    request: String,
}

#[derive(Deserialize, Serialize)]
struct WrittenExpiry {
    told_at_ms: u64,
    expires_at_ms: u64,
}

fn text(written: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(written).expect("names and numbers");
    text.push('\n');
    text
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

/// Rounded down, so that an expiry does not become later.
fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(u64::MAX)
}

fn time(milliseconds: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds))
}

pub(super) fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}
