//! The changes to a record's document.

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

use super::document::{
    COMPLETED, CREATED_AT, EXPIRES_AT, IN_FLIGHT, LABEL, OUTCOME, ROUTE, SPENT, VERSION, WITHDRAWN,
    after, timestamp, value,
};
use crate::{
    Fingerprint,
    labels::Labels,
    record::Token,
    store::{Hold, spent::SpentTokens},
};

/// How much later than necessary a document may be deleted. [`EXPIRES_AT`] is computed from this process's estimate of
/// the server's time, which is late, and a document must not be deleted before its record expires.
const GRACE: Duration = Duration::from_secs(3600);

/// What the document must be for a change to be made.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Base {
    Absent,
    UpdatedAt(Timestamp),
}

/// A step of a record. Its times, if it has any, count from when the server makes the change.
#[derive(Clone)]
pub(super) enum Change {
    Claim {
        hold: Hold,
        fingerprint: Fingerprint,
        attempt: u32,
        progress: Bytes,
        spent: SpentTokens,
        origin: Origin,
    },
    Renew {
        hold: Hold,
        /// The length of the progress, which stays unchanged.
        kept: usize,
    },
    Checkpoint {
        token: Token,
        progress: Bytes,
    },
    /// The hold ends, and the next claim takes over.
    Suspend {
        /// The new progress; `None` if the stored progress stays.
        progress: Option<Bytes>,
        ttl: Duration,
    },
    Complete {
        token: Token,
        outcome: Bytes,
        ttl: Duration,
    },
    /// A record that is written completed.
    Leave {
        hold: Hold,
        fingerprint: Fingerprint,
        outcome: Bytes,
    },
    /// The key is free, and this token stays spent for this long.
    Free {
        token: Token,
        /// The other spent tokens.
        spent: SpentTokens,
        /// The fingerprint, if the record may have to be created.
        fingerprint: Option<Fingerprint>,
        spent_for: Duration,
    },
    /// The attempts before this one count, and the key can be taken over.
    Withdraw {
        attempt: u32,
        ttl: Duration,
    },
    /// A run continues unchanged, with these spent tokens next to it.
    Spend {
        spent: SpentTokens,
    },
    /// Another outcome of a completed run. The time of completion stays unchanged.
    Replace {
        outcome: Bytes,
    },
    /// The same, and nothing is left of its label.
    Erase {
        outcome: Bytes,
    },
}

/// The origin of the record that a claim writes.
#[derive(Clone)]
pub(super) enum Origin {
    /// The record begins with this claim and has the labels of its hold.
    Own,
    /// The record began with the attempt that is taken over.
    TakenOver {
        created_at: Option<SystemTime>,
        labels: Labels,
    },
}

impl Change {
    /// The change of the document with this name, on condition that the document is still what the change is based on.
    pub(super) fn write(self, name: String, base: Base, now: SystemTime) -> Write {
        let condition = match base {
            Base::Absent => ConditionType::Exists(false),
            Base::UpdatedAt(time) => ConditionType::UpdateTime(time),
        };
        // A change that creates a document writes all fields; the others write only what they change.
        let whole = match &self {
            Self::Claim { .. } | Self::Leave { .. } => true,
            Self::Free { fingerprint, .. } => fingerprint.is_some(),
            _ => false,
        };
        // The time from which the lease counts, which these changes do not move.
        let is_timed = !matches!(
            self,
            Self::Checkpoint { .. }
                | Self::Spend { .. }
                | Self::Replace { .. }
                | Self::Erase { .. }
        );
        let is_first = matches!(
            self,
            Self::Claim {
                origin: Origin::Own,
                ..
            } | Self::Leave { .. }
        );
        let mut field_paths = Vec::new();
        let fields = match self {
            Self::Claim {
                hold,
                fingerprint,
                attempt,
                progress,
                spent,
                origin,
            } => {
                let (created_at, labels) = match origin {
                    Origin::Own => (None, hold.labels),
                    Origin::TakenOver { created_at, labels } => (created_at, labels),
                };
                let created_at = created_at.map(|time| named(CREATED_AT, timestamp(time)));
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
                let spent = spent_field(&spent);
                let fields = fields.into_iter().chain(left).chain(spent);
                let fields = fields.chain(created_at).chain(label_fields(&labels));
                fields.collect::<HashMap<_, _>>()
            }
            Self::Renew { hold, .. } => HashMap::from([
                named("lease_ms", milliseconds(hold.lease)),
                named("ttl_ms", milliseconds(hold.ttl)),
                deletable(now, hold.lease.saturating_add(hold.ttl)),
            ]),
            Self::Checkpoint { progress, .. } => {
                HashMap::from([named(OUTCOME, ValueType::BytesValue(progress.into()))])
            }
            Self::Suspend { progress, ttl } => {
                let progress =
                    progress.map(|progress| named(OUTCOME, ValueType::BytesValue(progress.into())));
                let fields = [
                    named("phase", ValueType::StringValue(WITHDRAWN.into())),
                    named("lease_ms", ValueType::IntegerValue(0)),
                    named("ttl_ms", milliseconds(ttl)),
                    deletable(now, ttl),
                ];
                fields.into_iter().chain(progress).collect()
            }
            Self::Complete {
                token,
                outcome,
                ttl,
            } => {
                // Naming a field without a value removes it.
                field_paths.push(SPENT.into());
                HashMap::from([
                    named("phase", ValueType::StringValue(COMPLETED.into())),
                    named("token", ValueType::BytesValue(token.as_bytes().into())),
                    named(OUTCOME, ValueType::BytesValue(outcome.into())),
                    named("ttl_ms", milliseconds(ttl)),
                    deletable(now, ttl),
                ])
            }
            Self::Leave {
                hold,
                fingerprint,
                outcome,
            } => {
                let fields = [
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
                ];
                let labels = label_fields(&hold.labels);
                fields.into_iter().chain(labels).collect()
            }
            Self::Free {
                token,
                spent,
                fingerprint,
                spent_for,
            } => {
                let spent = spent_field(&spent);
                // Naming fields without values removes them.
                field_paths.extend([OUTCOME, CREATED_AT, ROUTE, LABEL].map(String::from));
                field_paths.extend(spent.is_none().then(|| SPENT.into()));
                let fields = [
                    named("version", ValueType::IntegerValue(VERSION)),
                    named("phase", ValueType::StringValue(WITHDRAWN.into())),
                    named("token", ValueType::BytesValue(token.as_bytes().into())),
                    named("attempt", ValueType::IntegerValue(0)),
                    named("lease_ms", ValueType::IntegerValue(0)),
                    named("ttl_ms", milliseconds(spent_for)),
                    deletable(now, spent_for),
                ];
                let fingerprint = fingerprint.map(|fingerprint| {
                    let fingerprint = ValueType::BytesValue(fingerprint.as_bytes().into());
                    named("fingerprint", fingerprint)
                });
                fields.into_iter().chain(spent).chain(fingerprint).collect()
            }
            Self::Withdraw { attempt, ttl } => HashMap::from([
                named("phase", ValueType::StringValue(WITHDRAWN.into())),
                named("attempt", ValueType::IntegerValue(attempt.into())),
                named("lease_ms", ValueType::IntegerValue(0)),
                named("ttl_ms", milliseconds(ttl)),
                deletable(now, ttl),
            ]),
            Self::Spend { spent } => spent_field(&spent).into_iter().collect(),
            Self::Replace { outcome } => {
                HashMap::from([named(OUTCOME, ValueType::BytesValue(outcome.into()))])
            }
            Self::Erase { outcome } => {
                // Named without a value, it is removed.
                field_paths.push(LABEL.into());
                HashMap::from([named(OUTCOME, ValueType::BytesValue(outcome.into()))])
            }
        };
        field_paths.extend(fields.keys().cloned());
        Write {
            current_document: precondition(condition),
            update_mask: (!whole).then_some(DocumentMask { field_paths }),
            // The result of the first transform is the one that is read.
            update_transforms: [(is_timed, "stepped_at"), (is_first, CREATED_AT)]
                .into_iter()
                .filter(|(is_wanted, _)| *is_wanted)
                .map(|(_, field)| now_in(field))
                .collect(),
            operation: Some(Operation::Update(Document {
                name,
                fields,
                ..Default::default()
            })),
        }
    }
}

/// The removal of the document with this name, on condition that it has not been changed since.
pub(super) fn removal(name: String, update_time: Timestamp) -> Write {
    Write {
        current_document: precondition(ConditionType::UpdateTime(update_time)),
        operation: Some(Operation::Delete(name)),
        ..Default::default()
    }
}

fn precondition(condition: ConditionType) -> Option<Precondition> {
    Some(Precondition {
        condition_type: Some(condition),
    })
}

/// Sets this field to the server's own time.
fn now_in(field: &str) -> FieldTransform {
    FieldTransform {
        field_path: field.into(),
        transform_type: Some(TransformType::SetToServerValue(
            ServerValue::RequestTime.into(),
        )),
    }
}

/// When the server made a change, by its own clock.
pub(super) fn stepped_at(result: &WriteResult) -> Option<SystemTime> {
    match result.transform_results.first()?.value_type {
        Some(ValueType::TimestampValue(time)) => SystemTime::try_from(time).ok(),
        _ => None,
    }
}

/// `None` if there are no spent tokens.
fn spent_field(spent: &SpentTokens) -> Option<(String, Value)> {
    let bytes = spent.bytes()?;
    Some(named(SPENT, ValueType::BytesValue(bytes.into())))
}

/// Skips labels that are not set.
fn label_fields(labels: &Labels) -> impl Iterator<Item = (String, Value)> + use<> {
    let fields = [(ROUTE, labels.route()), (LABEL, labels.label())].map(|(name, text)| {
        let text = text.map(|text| ValueType::StringValue(text.into()));
        text.map(|text| named(name, text))
    });
    fields.into_iter().flatten()
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

/// Rounded up, so that nothing ends early.
fn milliseconds(duration: Duration) -> ValueType {
    let milliseconds = duration.as_nanos().div_ceil(1_000_000);
    ValueType::IntegerValue(milliseconds.try_into().unwrap_or(i64::MAX))
}
