//! The progress of a long command.

use std::{
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

use crate::logging;

/// Lines on standard error, if that is a terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    is_watched: bool,
    last: Instant,
}

/// The shortest time between two counts. A command that takes less shows none.
const EVERY: Duration = Duration::from_secs(1);

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            is_watched: stderr().is_terminal(),
            last: Instant::now(),
        }
    }

    /// What is being done, and may take long.
    pub(crate) fn begin(&mut self, what: &str) {
        if self.is_watched {
            self.last = Instant::now();
            logging::say(&format!("core-api: {what}"));
        }
    }

    /// How much has been done so far.
    pub(crate) fn count(&mut self, done: usize, what: &str) {
        if self.last.elapsed() >= EVERY {
            self.begin(&format!("{done} {what} so far"));
        }
    }
}
