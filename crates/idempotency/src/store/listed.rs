use super::StoreError;
use crate::record::{Record, RecordId};

/// What a store lists under one id: a record, or the reason why it cannot be read.
///
/// A record that another version wrote makes only its own entry an error. The others are listed all the same.
#[derive(Debug)]
#[non_exhaustive]
pub struct Listed {
    /// The name under which the store holds it.
    pub id: RecordId,
    /// The record, or an error of the kind [`Unreadable`](crate::store::StoreErrorKind::Unreadable).
    pub record: Result<Record, StoreError>,
}

impl Listed {
    /// An entry for a record that cannot be read.
    #[must_use]
    pub const fn unreadable(id: RecordId, error: StoreError) -> Self {
        Self {
            id,
            record: Err(error),
        }
    }
}

impl From<Record> for Listed {
    fn from(record: Record) -> Self {
        Self {
            id: record.id,
            record: Ok(record),
        }
    }
}
