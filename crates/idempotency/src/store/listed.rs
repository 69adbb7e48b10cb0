use super::StoreError;
use crate::{Record, RecordId};

/// What a store lists under one id: a record, or why that cannot be read.
///
/// A record that another version has written fails its own key. The others are listed all the same.
#[derive(Debug)]
#[non_exhaustive]
pub struct Listed {
    /// The name under which the store keeps it.
    pub id: RecordId,
    /// The record, or an error of the kind [`Unreadable`](crate::StoreErrorKind::Unreadable).
    pub record: Result<Record, StoreError>,
}

impl Listed {
    /// Under this id there is a record that cannot be read.
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
