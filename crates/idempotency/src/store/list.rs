//! Which records are listed.

use std::time::SystemTime;

use super::Listed;
use crate::record::{Phase, Record, RecordId};

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
    /// The maximum number of records.
    pub limit: usize,
    /// Only records with ids after this one, in the order of ids.
    pub after: Option<RecordId>,
    /// Only records in this phase.
    pub phase: Option<ListedPhase>,
    /// Only records whose first claim came before this time. A record that an earlier version wrote without that time
    /// is listed too.
    pub created_before: Option<SystemTime>,
    /// Only records with this label.
    pub label: Option<Box<str>>,
}

/// The phases that a list distinguishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListedPhase {
    /// A run holds the key, or held it when its lease lapsed.
    InFlight,
    /// A run held the key, and its lease has lapsed.
    Lapsed,
    /// A run has ended.
    Completed,
}

impl ListRequest {
    /// The first records, without a filter.
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

    /// Only records with ids after this one.
    #[must_use]
    pub const fn after(mut self, id: RecordId) -> Self {
        self.after = Some(id);
        self
    }

    /// Only records in this phase.
    #[must_use]
    pub const fn in_phase(mut self, phase: ListedPhase) -> Self {
        self.phase = Some(phase);
        self
    }

    /// Only records whose first claim came before this time.
    #[must_use]
    pub const fn created_before(mut self, time: SystemTime) -> Self {
        self.created_before = Some(time);
        self
    }

    /// Only records with this label, in the form that [`Idempotency::label_text`](crate::Idempotency::label_text)
    /// returns.
    #[must_use]
    pub fn labelled(mut self, label: &str) -> Self {
        self.label = Some(label.into());
        self
    }

    /// The response to this request, selected from all records of a store: for stores that filter after reading. `now` is the
    /// store's time.
    #[must_use]
    pub fn select(
        &self,
        records: impl IntoIterator<Item = Record>,
        now: SystemTime,
    ) -> Vec<Listed> {
        let mut selected: Vec<_> = records
            .into_iter()
            .filter(|record| self.after.is_none_or(|after| record.id > after))
            .filter(|record| self.matches(record, now))
            .collect();
        selected.sort_unstable_by_key(|record| record.id);
        selected.truncate(self.limit);
        selected.into_iter().map(Listed::from).collect()
    }

    /// Whether a record matches the request's filters, for stores that filter after reading. The store applies `limit`
    /// and `after` itself.
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
