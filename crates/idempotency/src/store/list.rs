//! Which records are listed.

use std::time::SystemTime;

use crate::{Phase, Record, RecordId};

/// Which records [`Store::list`](super::Store::list) returns.
///
/// ```
/// use idempotency::store::{ListRequest, ListedPhase};
///
/// // The first hundred keys whose owner has not renewed its lease in time.
/// let stuck = ListRequest::new(100).in_phase(ListedPhase::Lapsed);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListRequest {
    /// At most so many.
    pub limit: usize,
    /// Those behind this id only, in the order of ids.
    pub after: Option<RecordId>,
    /// Those in this phase only.
    pub phase: Option<ListedPhase>,
    /// Those whose first claim came before this time only. A record without that time, of an earlier version, is listed.
    pub created_before: Option<SystemTime>,
    /// Those with this label only.
    pub label: Option<Box<str>>,
}

/// The phases that a list tells apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListedPhase {
    /// A run holds the key, or did when its lease lapsed.
    InFlight,
    /// A run held the key, and its lease has lapsed.
    Lapsed,
    /// A run has ended.
    Completed,
}

impl ListRequest {
    /// The first records, whatever they are.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self {
            limit,
            after: None,
            phase: None,
            created_before: None,
            label: None,
        }
    }

    /// Only those behind this id.
    #[must_use]
    pub const fn after(mut self, id: RecordId) -> Self {
        self.after = Some(id);
        self
    }

    /// Only those in this phase.
    #[must_use]
    pub const fn in_phase(mut self, phase: ListedPhase) -> Self {
        self.phase = Some(phase);
        self
    }

    /// Only those whose first claim came before this time.
    #[must_use]
    pub const fn created_before(mut self, time: SystemTime) -> Self {
        self.created_before = Some(time);
        self
    }

    /// Only those with this label, as [`Idempotency::label_text`](crate::Idempotency::label_text) writes it.
    #[must_use]
    pub fn labelled(mut self, label: &str) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Whether a record is among those that are asked for, for stores that choose after they have read. `limit` and `after`
    /// are left to the store.
    #[must_use]
    pub fn matches(&self, record: &Record, now: SystemTime) -> bool {
        let is_in_phase = match (self.phase, &record.phase) {
            (None, _)
            | (Some(ListedPhase::InFlight), Phase::InFlight { .. })
            | (Some(ListedPhase::Completed), Phase::Completed { .. }) => true,
            (Some(ListedPhase::Lapsed), Phase::InFlight { lease_until, .. }) => *lease_until <= now,
            (Some(_), _) => false,
        };
        let is_old = self.created_before.is_none_or(|before| {
            record
                .created_at
                .is_none_or(|created_at| created_at < before)
        });
        let is_labelled = self
            .label
            .as_deref()
            .is_none_or(|label| record.labels.label() == Some(label));
        is_in_phase && is_old && is_labelled
    }
}
