//! What became of a request, as one word: the same one in metrics, spans and observations.

use crate::{Rejection, store::StoreErrorKind};

/// The list is closed. The guide to operators has a row for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(any(feature = "axum", feature = "metrics")),
    expect(dead_code, reason = "some of them only requests over HTTP come to")
)]
pub(crate) enum RequestOutcome {
    Executed,
    Released,
    Suspended,
    Unstored,
    EffectUnknown,
    Lost,
    Replayed,
    ReplayFailed,
    Tombstone,
    Erased,
    InProgress,
    Reused,
    Incomparable,
    OutcomeUnknown,
    Missing,
    Malformed,
    Rejected,
    EarlyData,
    StoreError,
    StoreFull,
    ScopeFull,
    TooManyNewKeys,
    TooManyLiveKeys,
    Busy,
    ShuttingDown,
    Misconfigured,
    Panicked,
    Abandoned,
    Unprotected,
}

impl RequestOutcome {
    #[cfg(feature = "metrics")]
    pub(super) const ALL: [Self; 29] = [
        Self::Executed,
        Self::Released,
        Self::Suspended,
        Self::Unstored,
        Self::EffectUnknown,
        Self::Lost,
        Self::Replayed,
        Self::ReplayFailed,
        Self::Tombstone,
        Self::Erased,
        Self::InProgress,
        Self::Reused,
        Self::Incomparable,
        Self::OutcomeUnknown,
        Self::Missing,
        Self::Malformed,
        Self::Rejected,
        Self::EarlyData,
        Self::StoreError,
        Self::StoreFull,
        Self::ScopeFull,
        Self::TooManyNewKeys,
        Self::TooManyLiveKeys,
        Self::Busy,
        Self::ShuttingDown,
        Self::Misconfigured,
        Self::Panicked,
        Self::Abandoned,
        Self::Unprotected,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Executed => "executed",
            Self::Released => "released",
            Self::Suspended => "suspended",
            Self::Unstored => "unstored",
            Self::EffectUnknown => "effect_unknown",
            Self::Lost => "lost",
            Self::Replayed => "replayed",
            Self::ReplayFailed => "replay_failed",
            Self::Tombstone => "tombstone",
            Self::Erased => "erased",
            Self::InProgress => "in_progress",
            Self::Reused => "reused",
            Self::Incomparable => "incomparable",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Rejected => "rejected",
            Self::EarlyData => "early_data",
            Self::StoreError => "store_error",
            Self::StoreFull => "store_full",
            Self::ScopeFull => "scope_full",
            Self::TooManyNewKeys => "too_many_new_keys",
            Self::TooManyLiveKeys => "too_many_live_keys",
            Self::Busy => "busy",
            Self::ShuttingDown => "shutting_down",
            Self::Misconfigured => "misconfigured",
            Self::Panicked => "panicked",
            Self::Abandoned => "abandoned",
            Self::Unprotected => "unprotected",
        }
    }

    /// Of a request that a store's failure has stopped.
    pub(crate) const fn of_store_error(kind: StoreErrorKind) -> Self {
        match kind {
            StoreErrorKind::Full => Self::StoreFull,
            StoreErrorKind::ScopeFull => Self::ScopeFull,
            _ => Self::StoreError,
        }
    }
}

impl From<&Rejection> for RequestOutcome {
    fn from(rejection: &Rejection) -> Self {
        match rejection {
            Rejection::Reused => Self::Reused,
            Rejection::Incomparable => Self::Incomparable,
            Rejection::InProgress => Self::InProgress,
            Rejection::OutcomeUnknown => Self::OutcomeUnknown,
            Rejection::NotStored => Self::Tombstone,
            Rejection::Erased => Self::Erased,
            // Only a run that has lost its key learns that.
            Rejection::ResponseUnavailable => Self::Lost,
            Rejection::Busy => Self::Busy,
            Rejection::TooManyNewKeys { .. } => Self::TooManyNewKeys,
            Rejection::TooManyLiveKeys { .. } => Self::TooManyLiveKeys,
            Rejection::ShuttingDown => Self::ShuttingDown,
            Rejection::Panicked => Self::Panicked,
            Rejection::NoPrincipal | Rejection::NotCommitted => Self::Misconfigured,
            Rejection::CommitUnknown { .. } => Self::EffectUnknown,
            Rejection::Store(error) => Self::of_store_error(error.kind()),
        }
    }
}
