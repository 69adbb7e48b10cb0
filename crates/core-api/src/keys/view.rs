//! What operators see of a key.

use std::{borrow::Cow, time::SystemTime};

use axum::body::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use idempotency::{
    Idempotency,
    log_text::Causes,
    operators::{KeyState, StoredResponse},
    store::{Listed, Phase, Record, StoreError},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::id::KeyId;

/// One line of a list.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum View {
    Readable(Box<Summary>),
    Unreadable { id: String, error: String },
}

/// A record without its response.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) id: String,
    /// The version that a change compares. It depends on the owner, the phase and what the run has stored; a renewal leaves it as it is.
    pub(crate) version: String,
    pub(crate) phase: Cow<'static, str>,
    pub(crate) attempt: u32,
    pub(crate) created_at: Option<String>,
    /// The same as a time, for comparisons.
    #[serde(skip)]
    pub(crate) created: Option<SystemTime>,
    pub(crate) age_seconds: Option<u64>,
    pub(crate) lease_until: Option<String>,
    pub(crate) completed_at: Option<String>,
    pub(crate) expires_at: String,
    pub(crate) steps: Option<usize>,
    pub(crate) route: Option<String>,
    pub(crate) label: Option<String>,
}

/// A record with its response.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Shown {
    #[serde(flatten)]
    pub(crate) summary: Summary,
    /// `None` while the run has not ended.
    pub(crate) response: Option<ShownResponse>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "stored", rename_all = "kebab-case")]
pub(crate) enum ShownResponse {
    Kept {
        status: u16,
        headers: Vec<String>,
        /// Only if the request asked for it, and if it is UTF-8.
        #[serde(skip_serializing_if = "Option::is_none")]
        body: Option<String>,
        /// The same in hexadecimal digits, if it is not.
        #[serde(skip_serializing_if = "Option::is_none")]
        body_hex: Option<String>,
    },
    /// The value from which each retry's response is rebuilt.
    Value {
        /// Only if the request asked for it.
        #[serde(skip_serializing_if = "Option::is_none")]
        json: Option<String>,
    },
    NotStored,
    Erased,
}

/// In place of the version of a record that cannot be read.
pub(crate) const UNREADABLE: &str = "unreadable";

impl View {
    pub(crate) fn of(idempotency: &Idempotency, listed: &Listed) -> Self {
        match &listed.record {
            Ok(record) => Self::Readable(Box::new(Summary::of(idempotency, record))),
            Err(error) => Self::Unreadable {
                id: KeyId::of(&listed.id).to_string(),
                error: Causes(error).to_string(),
            },
        }
    }
}

impl Summary {
    fn of(idempotency: &Idempotency, record: &Record) -> Self {
        let now = SystemTime::now();
        let lease_until = match record.phase {
            Phase::InFlight { lease_until, .. } => Some(lease_until),
            _ => None,
        };
        let age = record.created_at.map(|at| now.duration_since(at));
        Self {
            id: KeyId::of(&record.id).to_string(),
            version: version(record),
            phase: phase(record, now).into(),
            attempt: record.attempt,
            created_at: record.created_at.map(date),
            created: record.created_at,
            // A store whose clock is ahead dates records slightly in the future.
            age_seconds: age.map(|age| age.unwrap_or_default().as_secs()),
            lease_until: lease_until.map(date),
            completed_at: record.completed_at.map(date),
            expires_at: date(record.expires_at),
            steps: idempotency.completed_steps(record).ok(),
            route: record.labels.route().map(Into::into),
            label: record.labels.label().map(Into::into),
        }
    }
}

impl Shown {
    pub(crate) fn of(
        idempotency: &Idempotency,
        record: &Record,
        with_body: bool,
    ) -> Result<Self, StoreError> {
        let response = match idempotency.stored_response(record)? {
            StoredResponse::Kept(response) => {
                let body = with_body.then(|| str::from_utf8(response.body()).ok());
                Some(ShownResponse::Kept {
                    status: response.status().as_u16(),
                    headers: response.headers().keys().map(ToString::to_string).collect(),
                    body: body.flatten().map(Into::into),
                    body_hex: matches!(body, Some(None)).then(|| hex(response.body())),
                })
            }
            StoredResponse::ReplayValue(json) => Some(ShownResponse::Value {
                json: with_body.then(|| String::from_utf8_lossy(&json).into_owned()),
            }),
            StoredResponse::NotStored => Some(ShownResponse::NotStored),
            StoredResponse::Erased => Some(ShownResponse::Erased),
            _ => None,
        };
        Ok(Self {
            summary: Summary::of(idempotency, record),
            response,
        })
    }
}

/// The bytes of the stored body.
pub(crate) fn body_of(
    idempotency: &Idempotency,
    record: &Record,
) -> Result<Option<Bytes>, StoreError> {
    Ok(match idempotency.stored_response(record)? {
        StoredResponse::Kept(response) => Some(response.into_body()),
        StoredResponse::ReplayValue(json) => Some(json),
        _ => None,
    })
}

/// Identifies the state of a record. It is a digest, because a client that knows the owner's token can end its run.
pub(crate) fn version(record: &Record) -> String {
    let (phase, progress): (&[u8], &[u8]) = match &record.phase {
        Phase::InFlight { progress, .. } => (b"in flight", progress),
        _ => (b"completed", b""),
    };
    let seen = Sha256::new()
        .chain_update(b"core-api version of a key\0")
        .chain_update(record.id.as_bytes())
        .chain_update(record.token.as_bytes())
        .chain_update(phase)
        .chain_update(progress)
        .finalize();
    hex(&seen[..8])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn phase(record: &Record, now: SystemTime) -> &'static str {
    match KeyState::of(record, now) {
        KeyState::Running => "running",
        KeyState::Suspended => "suspended",
        KeyState::Lost => "lost",
        KeyState::Done => "done",
        KeyState::Erased => "erased",
        _ => "free",
    }
}

pub(crate) fn date(time: SystemTime) -> String {
    // A record that never expires has a time that chrono cannot show.
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    match DateTime::<Utc>::from_timestamp(seconds, since.subsec_nanos()) {
        Some(time) => time.to_rfc3339_opts(SecondsFormat::Secs, true),
        None => "never".into(),
    }
}
