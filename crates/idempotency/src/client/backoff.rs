//! How long to pause before the next attempt.

use std::time::Duration;

/// The pauses of one request: each is random up to a limit that doubles.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    pub(super) first: Duration,
    pub(super) longest: Duration,
}

impl Backoff {
    /// The pause after this many attempts, on top of what the service asks for.
    ///
    /// The jitter goes down to nothing, so that clients which failed together do not return together.
    pub(super) fn pause(self, attempts: u32, retry_after: Option<Duration>) -> Duration {
        let doubled = 2_u32.saturating_pow(attempts.saturating_sub(1));
        let limit = self.first.saturating_mul(doubled).min(self.longest);
        let jitter = rand::random_range(Duration::ZERO..=limit);
        retry_after.unwrap_or_default().saturating_add(jitter)
    }
}
