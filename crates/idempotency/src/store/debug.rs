//! How claims and resolutions are printed: without their outcomes, because a response belongs to its caller and must
//! not get into a log.

use std::fmt;

use super::{Claim, Resolution};
use crate::record::Redacted;

impl fmt::Debug for Claim {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Won { attempt, progress } => formatter
                .debug_struct("Won")
                .field("attempt", attempt)
                .field("progress", &Redacted(progress))
                .finish(),
            Self::InFlight { fingerprint } => formatter
                .debug_struct("InFlight")
                .field("fingerprint", fingerprint)
                .finish(),
            Self::Unknown { fingerprint } => formatter
                .debug_struct("Unknown")
                .field("fingerprint", fingerprint)
                .finish(),
            Self::Completed {
                fingerprint,
                outcome,
                expires_at,
            } => formatter
                .debug_struct("Completed")
                .field("fingerprint", fingerprint)
                .field("outcome", &Redacted(outcome))
                .field("expires_at", expires_at)
                .finish(),
        }
    }
}

impl fmt::Debug for Resolution {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Release => formatter.write_str("Release"),
            Self::Forget => formatter.write_str("Forget"),
            Self::Replace { outcome } => formatter
                .debug_struct("Replace")
                .field("outcome", &Redacted(outcome))
                .finish(),
            Self::Erase { outcome } => formatter
                .debug_struct("Erase")
                .field("outcome", &Redacted(outcome))
                .finish(),
            Self::Complete { outcome, ttl } => formatter
                .debug_struct("Complete")
                .field("outcome", &Redacted(outcome))
                .field("ttl", ttl)
                .finish(),
        }
    }
}
