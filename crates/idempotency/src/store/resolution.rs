//! What an operator does with a record.

use std::time::Duration;

use bytes::Bytes;

/// What an operator does with a record, which has to be the one that the operator has seen.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resolution {
    /// Ends a hold and frees the key: the next request with it runs.
    Release,
    /// Ends a hold as if its run had left this outcome.
    Complete {
        /// Bytes that the engine can read.
        outcome: Bytes,
        /// How long they are kept, from now.
        ttl: Duration,
    },
    /// Puts this outcome in the place of the one that a completed run has left. The record expires when it would have.
    Replace {
        /// Bytes that the engine can read.
        outcome: Bytes,
    },
    /// Forgets a completed run: the next request with its key runs again.
    Forget,
}
