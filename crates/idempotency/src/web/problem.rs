//! Every refusal that a client can get, in one place.

mod text;

use std::time::Duration;

use http::HeaderValue;

use super::request::NO_SCOPE;
use crate::{
    Rejection,
    engine::RequestOutcome,
    key::{KeyError, KeyRejection, Places},
    log_text::Causes,
    store::{StoreError, StoreErrorKind},
};

/// Why the handler did not respond to a request.
#[derive(Debug)]
pub(super) enum Problem {
    KeyMissing,
    KeyMalformed(KeyError),
    /// Of an endpoint whose key comes from these places.
    OwnKeyMissing(Places),
    OwnKeyMalformed(Places, KeyRejection),
    /// Of a caller without scope and credentials, whose keys have at least so many characters.
    AnonymousKeyTooShort {
        min: usize,
    },
    EarlyData,
    CredentialsRepeated,
    ContentTooLarge,
    ContentIncomplete,
    KeyReused,
    KeyIncomparable,
    InProgress,
    OutcomeUnknown,
    ResponseNotStored {
        location: Option<HeaderValue>,
    },
    ResponseErased,
    StoreUnavailable(StoreError),
    /// Of the caller's share of the store.
    TooManyKeys,
    TooManyNewKeys {
        retry_after: Duration,
    },
    TooManyLiveKeys {
        retry_after: Duration,
    },
    Busy,
    ShuttingDown,
    CommitFailed,
    CommitUnknown {
        /// Whether the transaction carries the key's record.
        is_shared: bool,
    },
    ResponseUnavailable,
    StepNotStored,
    HandlerPanicked,
    ResponseBroken,
    Misconfigured(&'static str),
}

pub(super) const NOT_COMMITTED: &str = "The handler is transactional but responded without a commit, \
                                        so nothing is stored: end it with \
                                        execution.commit(transaction, response).";

impl Problem {
    /// What the request has come to that gets this.
    pub(super) fn outcome(&self) -> RequestOutcome {
        match self {
            Self::KeyMissing | Self::OwnKeyMissing(_) => RequestOutcome::Missing,
            Self::KeyMalformed(_)
            | Self::OwnKeyMalformed(..)
            | Self::AnonymousKeyTooShort { .. } => RequestOutcome::Malformed,
            Self::EarlyData => RequestOutcome::EarlyData,
            Self::CredentialsRepeated | Self::ContentTooLarge | Self::ContentIncomplete => {
                RequestOutcome::Rejected
            }
            Self::KeyReused => RequestOutcome::Reused,
            Self::KeyIncomparable => RequestOutcome::Incomparable,
            Self::InProgress => RequestOutcome::InProgress,
            Self::OutcomeUnknown => RequestOutcome::OutcomeUnknown,
            Self::ResponseNotStored { .. } => RequestOutcome::Tombstone,
            Self::ResponseErased => RequestOutcome::Erased,
            Self::StoreUnavailable(error) => RequestOutcome::of_store_error(error.kind()),
            Self::TooManyKeys => RequestOutcome::ScopeFull,
            Self::TooManyNewKeys { .. } => RequestOutcome::TooManyNewKeys,
            Self::TooManyLiveKeys { .. } => RequestOutcome::TooManyLiveKeys,
            Self::Busy => RequestOutcome::Busy,
            Self::ShuttingDown => RequestOutcome::ShuttingDown,
            Self::ResponseUnavailable => RequestOutcome::Lost,
            Self::CommitUnknown { .. } => RequestOutcome::EffectUnknown,
            Self::HandlerPanicked => RequestOutcome::Panicked,
            Self::Misconfigured(_) => RequestOutcome::Misconfigured,
            // Made inside of runs, which are counted by what they leave.
            Self::CommitFailed | Self::StepNotStored | Self::ResponseBroken => {
                RequestOutcome::Released
            }
        }
    }
}

/// What the client learns of an engine's refusal. The log has the rest, written only here.
impl From<Rejection> for Problem {
    fn from(refusal: Rejection) -> Self {
        match refusal {
            Rejection::Reused => Self::KeyReused,
            Rejection::Incomparable => Self::KeyIncomparable,
            Rejection::InProgress => Self::InProgress,
            Rejection::OutcomeUnknown => Self::OutcomeUnknown,
            Rejection::ResponseUnavailable => Self::ResponseUnavailable,
            Rejection::NotStored => Self::ResponseNotStored { location: None },
            Rejection::Erased => Self::ResponseErased,
            Rejection::Busy => Self::Busy,
            Rejection::TooManyNewKeys { retry_after } => Self::TooManyNewKeys { retry_after },
            Rejection::TooManyLiveKeys { retry_after } => Self::TooManyLiveKeys { retry_after },
            Rejection::ShuttingDown => Self::ShuttingDown,
            Rejection::Panicked => Self::HandlerPanicked,
            Rejection::NotCommitted => Self::Misconfigured(NOT_COMMITTED),
            Rejection::CommitUnknown { is_shared } => Self::CommitUnknown { is_shared },
            Rejection::NoPrincipal => {
                tracing::error!(error = %Causes(&refusal), "the scope of a request cannot be determined");
                Self::Misconfigured(NO_SCOPE)
            }
            Rejection::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.kind() == StoreErrorKind::ScopeFull {
            tracing::warn!(
                idempotency.store = error.store(),
                error = %Causes(&error),
                "the request was refused and did not run",
            );
            return Self::TooManyKeys;
        }
        tracing::error!(
            idempotency.store = error.store(),
            kind = ?error.kind(),
            error = %Causes(&error),
            "the request was refused and did not run",
        );
        Self::StoreUnavailable(error)
    }
}
