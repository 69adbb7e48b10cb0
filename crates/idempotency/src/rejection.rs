use std::{error::Error, fmt};

use crate::StoreError;

/// Why the engine neither ran the work nor gave a stored answer. Nothing was changed, unless a variant says so.
#[derive(Debug)]
#[non_exhaustive]
pub enum Rejection {
    /// The key stands for another request: the fingerprints differ.
    Reused,
    /// Another version of this library made the record's fingerprint, so the two cannot be compared.
    Incomparable,
    /// The same request is running already.
    InProgress,
    /// A run of the same request lost its lease, and [`OnLost::Refuse`](crate::OnLost::Refuse) forbids another one:
    /// whether it took effect is not known.
    OutcomeUnknown,
    /// It has run, but its answer was too large to keep.
    NotStored,
    /// It has run, and an operator has [erased](crate::Idempotency::erase) its response.
    Erased,
    /// The work has run, but its value does not count: this run has lost its key, or its own commit was not heard of. The
    /// store could not say which value counts, or has none. The next call gets it, or runs.
    ResponseUnavailable,
    /// As many runs go on as [`with_max_running`](crate::IdempotencyBuilder::with_max_running) allows.
    Busy,
    /// The scope is of a principal without a name, so it cannot be told whose key this is.
    NoPrincipal,
    /// The engine is shutting down.
    ShuttingDown,
    /// The work panicked, and may have been half done. The key is free again, and the steps that were done are kept.
    Panicked,
    /// The work of a [transactional](crate::RunMode::Transactional) run has succeeded without a commit. Nothing is stored, and the
    /// next call runs: the program is wrong, and has to end its work by a commit.
    NotCommitted,
    /// It is not known whether the work's own transaction was committed. Call again with the same key.
    #[non_exhaustive]
    CommitUnknown {
        /// Whether the key's record is in the same transaction. Then the work takes effect exactly once. Otherwise the next call
        /// may carry it out again.
        is_shared: bool,
    },
    /// The store could not answer.
    Store(StoreError),
}

impl fmt::Display for Rejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reused => formatter.write_str("the key was used for another request"),
            Self::Incomparable => {
                formatter.write_str("the key's fingerprint is of another version")
            }
            Self::InProgress => formatter.write_str("the same request is running already"),
            Self::OutcomeUnknown => {
                formatter.write_str("it is not known whether the same request took effect")
            }
            Self::NotStored => formatter.write_str("the answer was too large to be kept"),
            Self::Erased => formatter.write_str("the response was erased"),
            Self::ResponseUnavailable => {
                formatter.write_str("the work has run, and its value cannot be told")
            }
            Self::Busy => formatter.write_str("too many requests are running"),
            Self::NoPrincipal => formatter.write_str("the principal of the scope has no name"),
            Self::ShuttingDown => formatter.write_str("the service is shutting down"),
            Self::Panicked => formatter.write_str("the work panicked"),
            Self::NotCommitted => {
                formatter.write_str("the work is transactional and has ended without a commit")
            }
            Self::CommitUnknown { is_shared: true } => formatter.write_str(
                "it is not known whether the transaction was committed: retry with the same key, and the work takes effect \
                 exactly once",
            ),
            Self::CommitUnknown { is_shared: false } => formatter.write_str(
                "it is not known whether the transaction was committed: a retry with the same key may carry the work out again",
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
