//! A record as a document, and the changes to one.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use gcloud_sdk::{
    google::firestore::v1::{
        Document, DocumentMask, Precondition, Value, Write, WriteResult,
        document_transform::{
            FieldTransform,
            field_transform::{ServerValue, TransformType},
        },
        precondition::ConditionType,
        value::ValueType,
        write::Operation,
    },
    prost_types::Timestamp,
};

use crate::{Fingerprint, Hold, Phase, Record, RecordId, StoreError, Token};

/// The collection of the records; the id of a document is that of its record in hexadecimal digits.
pub(super) const COLLECTION: &str = "idempotency_records";

/// The time from which on a document may be deleted, by the sweep or by a TTL policy.
pub(super) const EXPIRES_AT: &str = "expires_at";

/// What the run has left: so far while it is in flight, in the end once it is completed.
const OUTCOME: &str = "outcome";

/// Raised by each change of the fields. A document of another version is not read.
const VERSION: i64 = 1;

const IN_FLIGHT: &str = "in flight";
const COMPLETED: &str = "completed";

/// How much later than necessary a document may be deleted. [`EXPIRES_AT`] is this process's idea of the server's
/// time, which is behind, and a document must not be gone before its record's time is over.
const GRACE: Duration = Duration::from_secs(3600);

/// A document that was read.
pub(super) struct Found {
    pub(super) record: Record,
    /// Its version, as Firestore counts them.
    pub(super) update_time: Timestamp,
}

/// What a document must be for a change to happen.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Base {
    Absent,
    UpdatedAt(Timestamp),
}

/// A step of a record. Its times, if it has any, count from when the server makes it.
#[derive(Clone)]
pub(super) enum Change {
    Claim {
        hold: Hold,
        fingerprint: Fingerprint,
        attempt: u32,
        progress: Bytes,
    },
    Renew {
        hold: Hold,
    },
    Checkpoint {
        token: Token,
        progress: Bytes,
    },
    Complete {
        token: Token,
        outcome: Bytes,
        ttl: Duration,
    },
    /// A record that is completed from the start.
    Leave {
        hold: Hold,
        fingerprint: Fingerprint,
        outcome: Bytes,
    },
    Remove,
}

impl Found {
    /// Anything but what this version writes is an error.
    pub(super) fn read(id: &RecordId, mut document: Document) -> Result<Self, StoreError> {
        let fields = &mut document.fields;
        let version = integer(fields, "version")?;
        if version != VERSION {
            return Err(StoreError::unreadable(format!(
                "the document has version {version}, and only {VERSION} is known"
            )));
        }
        // When the server made the last step.
        let stepped_at = match field(fields, "stepped_at")? {
            ValueType::TimestampValue(time) => {
                SystemTime::try_from(time).map_err(StoreError::unreadable)?
            }
            _ => return Err(damaged("stepped_at")),
        };
        let ttl = duration(fields, "ttl_ms")?;
        let (phase, expires_at) = match field(fields, "phase")? {
            ValueType::StringValue(phase) if phase == IN_FLIGHT => {
                let lease_until = after(stepped_at, duration(fields, "lease_ms")?);
                let progress = match fields.contains_key(OUTCOME) {
                    true => bytes(fields, OUTCOME)?.into(),
                    false => Bytes::new(),
                };
                let phase = Phase::InFlight {
                    lease_until,
                    progress,
                };
                (phase, after(lease_until, ttl))
            }
            ValueType::StringValue(phase) if phase == COMPLETED => {
                let outcome = bytes(fields, OUTCOME)?.into();
                (Phase::Completed { outcome }, after(stepped_at, ttl))
            }
            _ => return Err(damaged("phase")),
        };
        Ok(Self {
            record: Record {
                id: *id,
                fingerprint: Fingerprint::from_bytes(array(fields, "fingerprint")?),
                token: Token::from_bytes(array(fields, "token")?),
                attempt: integer(fields, "attempt")?
                    .try_into()
                    .map_err(|_| damaged("attempt"))?,
                expires_at,
                phase,
            },
            update_time: document.update_time.ok_or_else(|| damaged("update_time"))?,
        })
    }

    /// Whose it is, while it is in flight.
    pub(super) fn owner(&self) -> Option<&Token> {
        matches!(self.record.phase, Phase::InFlight { .. }).then_some(&self.record.token)
    }

    pub(super) fn is_held_by(&self, token: &Token) -> bool {
        self.owner() == Some(token)
    }

    pub(super) fn is_completed_by(&self, token: &Token) -> bool {
        self.record.token == *token && matches!(self.record.phase, Phase::Completed { .. })
    }
}

impl Change {
    /// The change of the document of this name, as long as that is still what it is based on.
    pub(super) fn write(self, name: String, base: Base, now: SystemTime) -> Write {
        let condition = match base {
            Base::Absent => ConditionType::Exists(false),
            Base::UpdatedAt(time) => ConditionType::UpdateTime(time),
        };
        // Who makes a document writes all of it, the others only what they change.
        let whole = matches!(self, Self::Claim { .. } | Self::Leave { .. });
        // From where the lease counts, which a checkpoint does not move.
        let is_timed = !matches!(self, Self::Checkpoint { .. });
        let fields = match self {
            Self::Remove => None,
            Self::Claim {
                hold,
                fingerprint,
                attempt,
                progress,
            } => {
                let left = (!progress.is_empty())
                    .then(|| named(OUTCOME, ValueType::BytesValue(progress.into())));
                let fields = [
                    named("version", ValueType::IntegerValue(VERSION)),
                    named("phase", ValueType::StringValue(IN_FLIGHT.into())),
                    named(
                        "fingerprint",
                        ValueType::BytesValue(fingerprint.as_bytes().into()),
                    ),
                    named("token", ValueType::BytesValue(hold.token.as_bytes().into())),
                    named("attempt", ValueType::IntegerValue(attempt.into())),
                    named("lease_ms", milliseconds(hold.lease)),
                    named("ttl_ms", milliseconds(hold.ttl)),
                    deletable(now, hold.lease.saturating_add(hold.ttl)),
                ];
                Some(fields.into_iter().chain(left).collect::<HashMap<_, _>>())
            }
            Self::Renew { hold } => Some(HashMap::from([
                named("lease_ms", milliseconds(hold.lease)),
                named("ttl_ms", milliseconds(hold.ttl)),
                deletable(now, hold.lease.saturating_add(hold.ttl)),
            ])),
            Self::Checkpoint { progress, .. } => Some(HashMap::from([named(
                OUTCOME,
                ValueType::BytesValue(progress.into()),
            )])),
            Self::Complete {
                token,
                outcome,
                ttl,
            } => Some(HashMap::from([
                named("phase", ValueType::StringValue(COMPLETED.into())),
                named("token", ValueType::BytesValue(token.as_bytes().into())),
                named(OUTCOME, ValueType::BytesValue(outcome.into())),
                named("ttl_ms", milliseconds(ttl)),
                deletable(now, ttl),
            ])),
            Self::Leave {
                hold,
                fingerprint,
                outcome,
            } => Some(HashMap::from([
                named("version", ValueType::IntegerValue(VERSION)),
                named("phase", ValueType::StringValue(COMPLETED.into())),
                named(
                    "fingerprint",
                    ValueType::BytesValue(fingerprint.as_bytes().into()),
                ),
                named("token", ValueType::BytesValue(hold.token.as_bytes().into())),
                named("attempt", ValueType::IntegerValue(1)),
                named(OUTCOME, ValueType::BytesValue(outcome.into())),
                named("ttl_ms", milliseconds(hold.ttl)),
                deletable(now, hold.ttl),
            ])),
        };
        let current_document = Some(Precondition {
            condition_type: Some(condition),
        });
        let Some(fields) = fields else {
            return Write {
                current_document,
                operation: Some(Operation::Delete(name)),
                ..Default::default()
            };
        };
        Write {
            current_document,
            update_mask: (!whole).then(|| DocumentMask {
                field_paths: fields.keys().cloned().collect(),
            }),
            update_transforms: is_timed.then(stepped_now).into_iter().collect(),
            operation: Some(Operation::Update(Document {
                name,
                fields,
                ..Default::default()
            })),
        }
    }
}

/// The server's own time as that of its last step.
fn stepped_now() -> FieldTransform {
    FieldTransform {
        field_path: "stepped_at".into(),
        transform_type: Some(TransformType::SetToServerValue(
            ServerValue::RequestTime.into(),
        )),
    }
}

/// When the server made a change, by its own account.
pub(super) fn stepped_at(result: &WriteResult) -> Option<SystemTime> {
    match result.transform_results.first()?.value_type {
        Some(ValueType::TimestampValue(time)) => SystemTime::try_from(time).ok(),
        _ => None,
    }
}

/// The id of the document of this record.
pub(super) fn id(id: &RecordId) -> String {
    id.as_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The record whose document has this name.
pub(super) fn record_id(name: &str) -> Result<RecordId, StoreError> {
    let id = name.rsplit('/').next().unwrap_or_default().as_bytes();
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let bytes: Option<Vec<u8>> = id
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect();
    let bytes = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    bytes
        .map(RecordId::from_bytes)
        .ok_or_else(|| StoreError::unreadable(format!("a document is named {name}")))
}

/// A time as Firestore can keep it, which ends with the year 9999.
pub(super) fn timestamp(time: SystemTime) -> ValueType {
    const LAST: Timestamp = Timestamp {
        seconds: 253_402_300_799,
        nanos: 0,
    };
    let time = Timestamp::from(time);
    ValueType::TimestampValue(if time.seconds < LAST.seconds {
        time
    } else {
        LAST
    })
}

/// A time so much later, within what a clock can show.
pub(super) fn after(time: SystemTime, duration: Duration) -> SystemTime {
    // Nothing is kept for longer than a hundred thousand years.
    const MOST: Duration = Duration::from_secs(100_000 * 366 * 24 * 3600);
    time + duration.min(MOST)
}

pub(super) fn value(value: ValueType) -> Value {
    Value {
        value_type: Some(value),
    }
}

fn named(name: &str, content: ValueType) -> (String, Value) {
    (name.into(), value(content))
}

fn deletable(now: SystemTime, life: Duration) -> (String, Value) {
    named(
        EXPIRES_AT,
        timestamp(after(now, life.saturating_add(GRACE))),
    )
}

/// Rounded up: a promise is not kept by a fraction less.
fn milliseconds(duration: Duration) -> ValueType {
    let milliseconds = duration.as_nanos().div_ceil(1_000_000);
    ValueType::IntegerValue(milliseconds.try_into().unwrap_or(i64::MAX))
}

fn field(fields: &mut HashMap<String, Value>, name: &'static str) -> Result<ValueType, StoreError> {
    let value = fields.remove(name).and_then(|value| value.value_type);
    value.ok_or_else(|| damaged(name))
}

fn integer(fields: &mut HashMap<String, Value>, name: &'static str) -> Result<i64, StoreError> {
    match field(fields, name)? {
        ValueType::IntegerValue(integer) => Ok(integer),
        _ => Err(damaged(name)),
    }
}

fn duration(
    fields: &mut HashMap<String, Value>,
    name: &'static str,
) -> Result<Duration, StoreError> {
    let milliseconds = integer(fields, name)?;
    let milliseconds = milliseconds.try_into().map_err(|_| damaged(name))?;
    Ok(Duration::from_millis(milliseconds))
}

fn bytes(fields: &mut HashMap<String, Value>, name: &'static str) -> Result<Vec<u8>, StoreError> {
    match field(fields, name)? {
        ValueType::BytesValue(bytes) => Ok(bytes),
        _ => Err(damaged(name)),
    }
}

fn array<const LENGTH: usize>(
    fields: &mut HashMap<String, Value>,
    name: &'static str,
) -> Result<[u8; LENGTH], StoreError> {
    bytes(fields, name)?.try_into().map_err(|_| damaged(name))
}

fn damaged(field: &str) -> StoreError {
    StoreError::unreadable(format!("the document's {field} is missing or damaged"))
}
