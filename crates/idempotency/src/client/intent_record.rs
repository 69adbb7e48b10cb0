//! What is known of an intent that was begun.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::request::RequestForm;
use crate::IdempotencyKey;

#[derive(Clone, Debug)]
pub(super) struct IntentRecord {
    pub(super) key: IdempotencyKey,
    pub(super) begun_at: SystemTime,
    /// The digest of its request, with the key.
    request: [u8; 32],
    /// When the service forgets the key, if it has said so.
    pub(super) expires_at: Option<SystemTime>,
}

/// A record, and whether an attempt may have been sent before.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) record: IntentRecord,
    pub(super) is_earlier: bool,
}

impl IntentRecord {
    pub(super) fn new(key: IdempotencyKey, begun_at: SystemTime, form: &RequestForm) -> Self {
        Self {
            request: form.digest(&key),
            key,
            begun_at,
            expires_at: None,
        }
    }

    pub(super) fn is_of(&self, form: &RequestForm) -> bool {
        self.request == form.digest(&self.key)
    }

    pub(super) fn to_text(&self, id: &str) -> String {
        let written = Written {
            version: VERSION,
            intent: id.to_owned(),
            key: self.key.expose().to_owned(),
            begun_at_ms: milliseconds(self.begun_at),
            expires_at_ms: self.expires_at.map(milliseconds),
            request: hex(&self.request),
        };
        let mut text = serde_json::to_string_pretty(&written).expect("names and numbers");
        text.push('\n');
        text
    }

    /// `None` if this is not the text of that intent.
    pub(super) fn from_text(text: &[u8], id: &str) -> Option<Self> {
        let written: Written = serde_json::from_slice(text).ok()?;
        if written.version != VERSION || written.intent != id {
            return None;
        }
        Some(Self {
            key: IdempotencyKey::new(&written.key).ok()?,
            begun_at: time(written.begun_at_ms)?,
            request: from_hex(&written.request)?,
            expires_at: match written.expires_at_ms {
                Some(milliseconds) => Some(time(milliseconds)?),
                None => None,
            },
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
    expires_at_ms: Option<u64>,
    request: String,
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
