//! Paused time, which distinguishes a notification from a poll.

use std::{
    sync::mpsc::{self, Sender},
    time::Duration,
};

use tokio::time::{self, Instant};

/// Stops the timers of this single-threaded runtime, while the network works. Anything that still happens does not
/// happen because a timer fired.
pub(crate) struct PausedTime {
    since: Instant,
    _going_on: Sender<()>,
}

/// How long a broken test may hang before it fails.
const PATIENCE: Duration = Duration::from_secs(30);

impl PausedTime {
    pub(crate) fn pause() -> Self {
        time::pause();
        let (going_on, ended) = mpsc::channel::<()>();
        // A paused clock jumps to the next timer when the runtime is idle, unless a blocking task is running.
        tokio::task::spawn_blocking(move || ended.recv_timeout(PATIENCE));
        Self {
            since: Instant::now(),
            _going_on: going_on,
        }
    }

    /// Asserts that no timer has fired, and lets time pass again.
    #[track_caller]
    pub(crate) fn resume(self) {
        assert_eq!(Instant::now(), self.since, "a timer had to run out first");
        time::resume();
    }
}
