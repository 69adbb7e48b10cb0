//! Whether the tokens that are valid now are known to be those of the file.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The result of the last read of the file. A read that found a version which is still being written does not count.
#[derive(Debug)]
pub(super) struct Freshness(Mutex<LastRead>);

#[derive(Clone, Copy, Debug)]
struct LastRead {
    ended: Instant,
    /// Whether the file had the tokens that are valid now.
    is_usable: bool,
}

/// The file is read every second. After this time without a result its file system may have stopped responding, or the thread that reads it
/// may have ended.
const OVERDUE_AFTER: Duration = Duration::from_secs(10);

impl Freshness {
    pub(super) fn new() -> Self {
        Self(Mutex::new(LastRead::now(true)))
    }

    /// Records the result of a read that has ended now.
    pub(super) fn read(&self, is_usable: bool) {
        *self.0.lock() = LastRead::now(is_usable);
    }

    /// Whether the file could not be used, or no read of it has ended for too long.
    pub(super) fn is_stale(&self) -> bool {
        let last = *self.0.lock();
        !last.is_usable || last.is_overdue()
    }

    /// Whether no read has ended for too long.
    pub(super) fn is_overdue(&self) -> bool {
        self.0.lock().is_overdue()
    }
}

impl LastRead {
    fn now(is_usable: bool) -> Self {
        Self {
            ended: Instant::now(),
            is_usable,
        }
    }

    fn is_overdue(&self) -> bool {
        self.ended.elapsed() > OVERDUE_AFTER
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    // proves: token-file-read-again
    #[tokio::test(start_paused = true)]
    async fn a_file_that_no_read_has_ended_of_for_ten_seconds_is_stale() {
        let freshness = Freshness::new();
        advance(OVERDUE_AFTER).await;
        assert!(!freshness.is_stale());
        advance(Duration::from_millis(1)).await;
        assert!(freshness.is_stale() && freshness.is_overdue());
        freshness.read(true);
        assert!(!freshness.is_stale() && !freshness.is_overdue());
        freshness.read(false);
        assert!(freshness.is_stale() && !freshness.is_overdue());
    }
}
