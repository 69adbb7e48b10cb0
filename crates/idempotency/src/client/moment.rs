//! A time by both of the machine's clocks.

use std::time::{Duration, SystemTime};

use crate::Clock;

/// The wall clock jumps when it is set. The monotonic clock stops while the machine sleeps, and has no meaning in another process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) wall: SystemTime,
    monotonic: SystemTime,
}

impl Moment {
    pub(super) fn now(clock: &Clock) -> Self {
        Self {
            wall: clock.wall(),
            monotonic: clock.now(),
        }
    }

    /// How long ago the earlier moment was, by the clock that says more.
    pub(super) fn since(self, earlier: Self) -> Duration {
        let wall = self.wall.duration_since(earlier.wall);
        let monotonic = self.monotonic.duration_since(earlier.monotonic);
        wall.unwrap_or_default().max(monotonic.unwrap_or_default())
    }
}
