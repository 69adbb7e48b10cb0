//! The replies of the scripts, read to the last byte: a reply that is not understood is an error.

use std::time::SystemTime;

use bytes::{Buf, Bytes};
use redis::Value;

use super::{micros, origin};
use crate::{
    Fingerprint,
    record::{Phase, Record, RecordId, Token},
    store::StoreError,
};

/// A script's reply.
pub(super) enum Reply {
    /// The caller owns the key.
    Won { attempt: u32, progress: Bytes },
    /// The claim's own token is spent.
    Spent,
    /// A hold has lapsed, and the caller does not take over.
    Unknown,
    /// There is a record, and it was not changed.
    Found { record: Record, now: SystemTime },
    /// There is no record.
    Absent,
    /// The step was taken.
    Done,
    /// The key is free, and this token is spent.
    Free,
    /// The run is completed, and its outcome expires then.
    Completed { expires_at: SystemTime },
    /// The caller is not the owner; nothing was changed.
    Lost,
}

const VERSION: u8 = 2;
const VERSION_WITHOUT_ORIGIN: u8 = 1;
const IN_FLIGHT: u8 = 1;
const COMPLETED: u8 = 2;
const WITHDRAWN: u8 = 3;

impl Reply {
    pub(super) fn read(id: &RecordId, value: Value) -> Result<Self, StoreError> {
        Self::understand(id, value).ok_or_else(|| {
            StoreError::unreadable("the record in Redis is damaged, or another version wrote it")
        })
    }

    fn understand(id: &RecordId, value: Value) -> Option<Self> {
        let Value::Array(parts) = value else {
            return None;
        };
        let mut parts = parts.into_iter();
        let word = parts.next()?;
        let rest = (parts.next(), parts.next());
        match (text(&word)?, rest) {
            (b"won", (Some(Value::Int(attempt)), Some(Value::BulkString(progress)))) => {
                Some(Self::Won {
                    attempt: u32::try_from(attempt).ok()?,
                    progress: progress.into(),
                })
            }
            (b"spent", (None, None)) => Some(Self::Spent),
            (b"unknown", (None, None)) => Some(Self::Unknown),
            (b"found", (Some(Value::BulkString(bytes)), Some(Value::Int(now)))) => {
                Some(Self::Found {
                    record: record(id, bytes.into())?,
                    now: time(now)?,
                })
            }
            (b"completed", (Some(Value::Int(expires_at)), None)) => Some(Self::Completed {
                expires_at: time(expires_at)?,
            }),
            (b"absent", (None, None)) => Some(Self::Absent),
            (b"done", (None, None)) => Some(Self::Done),
            (b"free", (None, None)) => Some(Self::Free),
            (b"lost", (None, None)) => Some(Self::Lost),
            _ => None,
        }
    }
}

fn time(microseconds: i64) -> Option<SystemTime> {
    micros::time(u64::try_from(microseconds).ok()?)
}

fn text(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

/// The record in the form that `record.lua` describes.
fn record(id: &RecordId, mut bytes: Bytes) -> Option<Record> {
    let version = bytes.try_get_u8().ok()?;
    if !matches!(version, VERSION | VERSION_WITHOUT_ORIGIN) {
        return None;
    }
    let state = bytes.try_get_u8().ok()?;
    let (phase, spent_tokens) = (state & 0xf, usize::from(state >> 4));
    let attempt = bytes.try_get_u32().ok()?;
    let expires_at = micros::time(bytes.try_get_u64().ok()?)?;
    let lease_until = bytes.try_get_u64().ok()?;
    let has_completion = phase == COMPLETED && lease_until > 0;
    let lease_until = micros::time(lease_until)?;
    let mut token = [0; 16];
    bytes.try_copy_to_slice(&mut token).ok()?;
    let mut fingerprint = [0; Fingerprint::LENGTH];
    bytes.try_copy_to_slice(&mut fingerprint).ok()?;
    let spent_length = spent_tokens * token.len();
    if bytes.len() < spent_length {
        return None;
    }
    bytes.advance(spent_length);
    let (created_at, labels) = match version {
        VERSION => origin::read(&mut bytes)?,
        _ => Default::default(),
    };
    let phase = match phase {
        // The attempts before a withdrawn one have lapsed.
        IN_FLIGHT | WITHDRAWN => Phase::InFlight {
            lease_until,
            progress: bytes,
        },
        COMPLETED => Phase::Completed { outcome: bytes },
        _ => return None,
    };
    let mut record = Record::new(
        *id,
        Fingerprint::from_bytes(fingerprint),
        Token::from_bytes(token),
        attempt,
        expires_at,
        phase,
    );
    record.created_at = created_at;
    // The previous version stored no time there.
    record.completed_at = has_completion.then_some(lease_until);
    record.labels = labels;
    Some(record)
}
