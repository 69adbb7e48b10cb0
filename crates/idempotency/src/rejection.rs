use std::{error::Error, fmt, time::Duration};

use crate::store::StoreError;

/// Why the engine neither ran the work nor replayed a stored outcome. Nothing was changed, unless a variant says so.
#[derive(Debug)]
#[non_exhaustive]
pub enum Rejection {
    /// The key was used for a different request: the fingerprints differ.
    Reused,
    /// Another version of this library made the record's fingerprint, so the two cannot be compared.
    Incomparable,
    /// The same request is running.
    InProgress,
    /// A run of the same request lost its lease, and [`OnLost::Refuse`](crate::OnLost::Refuse) forbids another run:
    /// whether the request took effect is not known.
    OutcomeUnknown,
    /// The request ran, but its outcome was too large to store.
    NotStored,
    /// The request ran, and an operator [erased](crate::Idempotency::erase) its response.
    Erased,
    /// The work ran, but its value is not authoritative, because the run lost its key or its commit was not confirmed,
    /// and the store could not return the stored value, or has none. The next call gets the stored value, or runs.
    ResponseUnavailable,
    /// The number of concurrent runs is at the limit of
    /// [`with_max_running`](crate::IdempotencyBuilder::with_max_running).
    Busy,
    /// The scope has used as many new keys as
    /// [`with_max_new_keys_per_scope`](crate::IdempotencyBuilder::with_max_new_keys_per_scope) allows for now.
    #[non_exhaustive]
    TooManyNewKeys {
        /// When the scope may use the next one.
        retry_after: Duration,
    },
    /// The scope has as many live keys as
    /// [`with_max_live_keys_per_scope`](crate::IdempotencyBuilder::with_max_live_keys_per_scope) allows.
    #[non_exhaustive]
    TooManyLiveKeys {
        /// When the first of them expires; zero if all of them belong to running requests.
        retry_after: Duration,
    },
    /// The scope is a principal with an empty name, so the key's owner is not known.
    NoPrincipal,
    /// The engine is shutting down.
    ShuttingDown,
    /// The work panicked, and may have been done in part. The key is free again, and completed steps are kept.
    Panicked,
    /// The work of a [transactional](crate::options::RunMode::Transactional) run succeeded without a commit. Nothing is stored,
    /// and the next call runs. This is a bug in the program: such work has to end by a commit.
    NotCommitted,
    /// It is not known whether the work's own transaction committed. Call again with the same key.
    #[non_exhaustive]
    CommitUnknown {
        /// Whether the transaction carries the key's record. If so, the work takes effect exactly once. Otherwise the
        /// next call may run it again.
        is_shared: bool,
    },
    /// The store could not respond.
    Store(StoreError),
}

impl fmt::Display for Rejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reused => formatter.write_str("the key was used for a different request"),
            Self::Incomparable => {
                formatter.write_str("the key's fingerprint was made by another version")
            }
            Self::InProgress => formatter.write_str("the same request is running"),
            Self::OutcomeUnknown => {
                formatter.write_str("it is not known whether the same request took effect")
            }
            Self::NotStored => formatter.write_str("the outcome was too large to store"),
            Self::Erased => formatter.write_str("the response was erased"),
            Self::ResponseUnavailable => {
                formatter.write_str("the work ran, but the value that counts is not known")
            }
            Self::Busy => formatter.write_str("too many requests are running"),
            Self::TooManyNewKeys { .. } => {
                formatter.write_str("the scope uses new keys too fast")
            }
            Self::TooManyLiveKeys { .. } => formatter.write_str("the scope has too many live keys"),
            Self::NoPrincipal => formatter.write_str("the principal of the scope has no name"),
            Self::ShuttingDown => formatter.write_str("the service is shutting down"),
            Self::Panicked => formatter.write_str("the work panicked"),
            Self::NotCommitted => {
                formatter.write_str("the work is transactional but ended without a commit")
            }
            Self::CommitUnknown { is_shared: true } => formatter.write_str(
                "it is not known whether the transaction was committed: retry with the same key, and the work takes effect \
                 exactly once",
            ),
            Self::CommitUnknown { is_shared: false } => formatter.write_str(
                "it is not known whether the transaction was committed: a retry with the same key may run the work again",
            ),
            Self::Store(error) => error.fmt(formatter),
        }
    }
}

impl Error for Rejection {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Store(error) => error.source(),
            _ => None,
        }
    }
}

impl From<StoreError> for Rejection {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
