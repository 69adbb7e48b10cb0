//! A record as a document.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use gcloud_sdk::{
    google::firestore::v1::{Document, Value, value::ValueType},
    prost_types::Timestamp,
};

use crate::{
    Fingerprint,
    labels::Labels,
    record::{Phase, Record, RecordId, Token},
    store::{StoreError, spent::SpentTokens},
};

/// The collection of the records. The id of a document is its record's id in hexadecimal digits.
pub(super) const COLLECTION: &str = "idempotency_records";

/// The time from which a document may be deleted, by the sweep or by a TTL policy.
pub(super) const EXPIRES_AT: &str = "expires_at";

/// The run's progress while it is in flight, and its outcome once it is completed.
pub(super) const OUTCOME: &str = "outcome";

/// Increased by each change of the fields. A document of another version is not read.
pub(super) const VERSION: i64 = 1;

pub(super) const IN_FLIGHT: &str = "in flight";
pub(super) const COMPLETED: &str = "completed";

/// The token is spent: its claim was withdrawn, or may arrive no more. Its attempt counts those before it, like a
/// lapsed hold's; if it is 0, the key is free.
pub(super) const WITHDRAWN: &str = "withdrawn";

/// The other spent tokens, 16 bytes each, the latest first; absent if there are none.
pub(super) const SPENT: &str = "spent";

/// When the key was first claimed; absent in what the previous version wrote, and for a free key.
pub(super) const CREATED_AT: &str = "created_at";

/// The labels of the record, each absent if it is not set.
pub(super) const ROUTE: &str = "route";
pub(super) const LABEL: &str = "label";

/// A document that was read.
pub(super) struct Found {
    pub(super) record: Record,
    pub(super) is_withdrawn: bool,
    /// The spent tokens other than its own.
    pub(super) spent: SpentTokens,
    /// Its version, as Firestore counts versions.
    pub(super) update_time: Timestamp,
}

impl Found {
    /// Anything that this version does not write is an error.
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
        let created_at = match optional(fields, CREATED_AT)? {
            None => None,
            Some(ValueType::TimestampValue(time)) => {
                Some(SystemTime::try_from(time).map_err(StoreError::unreadable)?)
            }
            Some(_) => return Err(damaged(CREATED_AT)),
        };
        let (route, label) = (text(fields, ROUTE)?, text(fields, LABEL)?);
        let ttl = duration(fields, "ttl_ms")?;
        let ValueType::StringValue(phase) = field(fields, "phase")? else {
            return Err(damaged("phase"));
        };
        let attempt = integer(fields, "attempt")?
            .try_into()
            .map_err(|_| damaged("attempt"))?;
        let is_withdrawn = phase == WITHDRAWN;
        let mut completed_at = None;
        let (phase, expires_at) = match phase.as_str() {
            IN_FLIGHT | WITHDRAWN => {
                let lease_until = after(stepped_at, duration(fields, "lease_ms")?);
                let progress = if fields.contains_key(OUTCOME) {
                    bytes(fields, OUTCOME)?.into()
                } else {
                    Bytes::new()
                };
                let phase = Phase::InFlight {
                    lease_until,
                    progress,
                };
                (phase, after(lease_until, ttl))
            }
            COMPLETED => {
                let outcome = bytes(fields, OUTCOME)?.into();
                // Its last step, because nothing later moves that time.
                completed_at = Some(stepped_at);
                (Phase::Completed { outcome }, after(stepped_at, ttl))
            }
            _ => return Err(damaged("phase")),
        };
        let spent = if fields.contains_key(SPENT) {
            SpentTokens::read(bytes(fields, SPENT)?).ok_or_else(|| damaged(SPENT))?
        } else {
            SpentTokens::default()
        };
        let mut record = Record::new(
            *id,
            Fingerprint::from_bytes(array(fields, "fingerprint")?),
            Token::from_bytes(array(fields, "token")?),
            attempt,
            expires_at,
            phase,
        );
        record.created_at = created_at;
        record.completed_at = completed_at;
        record.labels = Labels::new(route.as_deref(), label.as_deref());
        Ok(Self {
            record,
            is_withdrawn,
            spent,
            update_time: document.update_time.ok_or_else(|| damaged("update_time"))?,
        })
    }

    /// The owner of the record, while it is in flight.
    pub(super) fn owner(&self) -> Option<&Token> {
        (self.is_in_flight() && !self.is_withdrawn).then_some(&self.record.token)
    }

    pub(super) fn is_held_by(&self, token: &Token) -> bool {
        self.owner() == Some(token)
    }

    /// Whether the document only remembers spent tokens.
    pub(super) fn is_free(&self) -> bool {
        self.is_withdrawn && self.record.attempt == 0
    }

    /// Whether a claim by this token takes nothing any more.
    pub(super) fn is_spent(&self, token: &Token) -> bool {
        self.is_withdrawn && self.record.token == *token || self.spent.contains(token)
    }

    /// All spent tokens: what a document keeps when another owner's token replaces its own.
    pub(super) fn spent_tokens(&self) -> SpentTokens {
        if self.is_withdrawn {
            self.spent.with(&self.record.token)
        } else {
            self.spent.clone()
        }
    }

    /// The run's progress so far.
    pub(super) fn progress(&self) -> &[u8] {
        match &self.record.phase {
            Phase::InFlight { progress, .. } => progress,
            Phase::Completed { .. } => &[],
        }
    }

    /// Whether an attempt has been made that has not ended.
    pub(super) fn is_in_flight(&self) -> bool {
        !self.is_free() && matches!(self.record.phase, Phase::InFlight { .. })
    }

    /// Whether the attempt's lease has lapsed by then and this request may take over the key.
    pub(super) fn may_be_taken(&self, fingerprint: &Fingerprint, now: SystemTime) -> bool {
        let is_lapsed = self.is_withdrawn
            || matches!(self.record.phase, Phase::InFlight { lease_until, .. } if lease_until <= now);
        is_lapsed && self.is_in_flight() && self.record.fingerprint == *fingerprint
    }

    pub(super) fn is_completed_by(&self, token: &Token) -> bool {
        self.record.token == *token && matches!(self.record.phase, Phase::Completed { .. })
    }
}

/// The id of the document of this record.
pub(super) fn id(id: &RecordId) -> String {
    id.as_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The id of the record whose document has this name, if it is a record's.
pub(super) fn record_id(name: &str) -> Option<RecordId> {
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
    let bytes = <[u8; 32]>::try_from(bytes?).ok()?;
    Some(RecordId::from_bytes(bytes))
}

/// A time as Firestore can store it, up to the year 9999.
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

/// A time this much later, within the range of clocks.
pub(super) fn after(time: SystemTime, duration: Duration) -> SystemTime {
    // Firestore has no time after the year 9999, so a longer duration is capped at a century.
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    time + duration.min(CENTURY)
}

pub(super) fn value(value: ValueType) -> Value {
    Value {
        value_type: Some(value),
    }
}

fn field(fields: &mut HashMap<String, Value>, name: &'static str) -> Result<ValueType, StoreError> {
    let value = fields.remove(name).and_then(|value| value.value_type);
    value.ok_or_else(|| damaged(name))
}

/// `None` if there is no such field.
fn optional(
    fields: &mut HashMap<String, Value>,
    name: &'static str,
) -> Result<Option<ValueType>, StoreError> {
    if fields.contains_key(name) {
        field(fields, name).map(Some)
    } else {
        Ok(None)
    }
}

fn text(
    fields: &mut HashMap<String, Value>,
    name: &'static str,
) -> Result<Option<String>, StoreError> {
    match optional(fields, name)? {
        None => Ok(None),
        Some(ValueType::StringValue(text)) => Ok(Some(text)),
        Some(_) => Err(damaged(name)),
    }
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
