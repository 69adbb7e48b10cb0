//! A row that is written as a whole.

use rusqlite::{Error, params};

use super::{
    index::File,
    millis::Millis,
    row::PhaseTag,
    statements::{INSERT, OVERWRITE},
};
use crate::{
    Fingerprint,
    labels::Labels,
    record::{RecordId, ScopeId, Token},
};

pub(super) struct NewRow<'a> {
    pub(super) fingerprint: &'a Fingerprint,
    pub(super) token: &'a Token,
    pub(super) attempt: u32,
    pub(super) expires_at: Millis,
    pub(super) phase: PhaseTag,
    pub(super) lease_until: Option<Millis>,
    /// The progress or the outcome.
    pub(super) left: Option<&'a [u8]>,
    pub(super) spent: Option<&'a [u8]>,
    pub(super) scope: ScopeId,
    pub(super) created_at: Option<Millis>,
    pub(super) completed_at: Option<Millis>,
    pub(super) labels: Option<&'a Labels>,
}

impl NewRow<'_> {
    /// Writes the row over the one of the same id in this place, or behind all others.
    pub(super) fn put(
        &self,
        file: File<'_>,
        id: &RecordId,
        place: Option<i64>,
    ) -> Result<(), Error> {
        let (statement, place) = match place {
            Some(place) => (OVERWRITE, place),
            None => (INSERT, file.places.add(id)),
        };
        let values = params![
            place,
            id.as_bytes(),
            self.fingerprint.as_bytes(),
            self.token.as_bytes(),
            self.attempt,
            self.expires_at,
            self.phase,
            self.lease_until,
            self.left,
            self.spent,
            self.scope,
            self.created_at,
            self.completed_at,
            self.labels.and_then(Labels::route),
            self.labels.and_then(Labels::label),
        ];
        file.write(statement, values)
    }
}
