use std::time::Duration;

/// How often a waiting duplicate polls the store when no notification arrives, for
/// [`Wakeups::subscribe`](super::Wakeups::subscribe).
///
/// ```
/// use std::time::Duration;
/// use idempotency::store::Polling;
///
/// // 25 ms, 50 ms, 100 ms, and so on up to a second, and from the start again after each change.
/// let polling = Polling::backing_off(Duration::from_millis(25), Duration::from_secs(1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Polling {
    first: Duration,
    longest: Duration,
}

impl Polling {
    /// The same pause before each poll: a fallback for stores that receive notifications.
    #[must_use]
    pub const fn every(pause: Duration) -> Self {
        Self::backing_off(pause, pause)
    }

    /// A pause that doubles with each poll, from `first` up to `longest`: for stores without notifications, where most
    /// runs end soon and polling for the others should cost little.
    #[must_use]
    pub const fn backing_off(first: Duration, longest: Duration) -> Self {
        Self { first, longest }
    }

    pub(super) const fn first(self) -> Duration {
        self.first
    }

    pub(super) fn behind(self, pause: Duration) -> Duration {
        pause.saturating_mul(2).min(self.longest)
    }
}
