//! What an operator does with a record.

use std::time::Duration;

use bytes::Bytes;

/// What an operator does with a record. It applies only if the record has not changed since the operator saw it.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resolution {
    /// Ends a hold and frees the key: the next request with it runs.
    Release,
    /// Ends a hold as if its run had stored this outcome.
    Complete {
        /// Bytes that the engine can read.
        outcome: Bytes,
        /// How long they are stored, from now.
        ttl: Duration,
    },
    /// Replaces the outcome of a completed run. The time at which the record expires stays the same.
    Replace {
        /// Bytes that the engine can read.
        outcome: Bytes,
    },
    /// As `Replace`, and takes the application's [label](crate::Label) away. The route stays.
    Erase {
        /// Bytes that the engine can read.
        outcome: Bytes,
    },
    /// Forgets a completed run: the next request with its key runs again. The token of that run is spent, as after `Release`.
    Forget,
}
