//! Time that stands still, to tell a notification from a look now and then.

use std::{
    sync::mpsc::{self, Sender},
    time::Duration,
};

use tokio::time::{self, Instant};

/// Stops the timers of this runtime, of one thread, while the network goes on. What happens all the same does not
/// happen because a timer has run out.
pub(crate) struct PausedTime {
    since: Instant,
    _going_on: Sender<()>,
}

/// How long a test that is broken may hang before it fails.
const PATIENCE: Duration = Duration::from_secs(30);

impl PausedTime {
    pub(crate) fn pause() -> Self {
        time::pause();
        let (going_on, ended) = mpsc::channel::<()>();
        // A paused clock jumps to the next timer when nothing else is left to do, unless such a task is running.
        tokio::task::spawn_blocking(move || ended.recv_timeout(PATIENCE));
        Self {
            since: Instant::now(),
            _going_on: going_on,
        }
    }

    /// Asserts that no timer has run out, and lets time pass again.
    #[track_caller]
    pub(crate) fn resume(self) {
        assert_eq!(Instant::now(), self.since, "a timer had to run out first");
        time::resume();
    }
}
