//! The end of an engine.

use std::{error::Error, fmt, time::Duration};

use tokio::time::timeout;

use super::{Idempotency, store_timeout::STORE_TIMEOUT};

/// The work that was unfinished at the deadline of [`Idempotency::shutdown_within`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unfinished {
    /// Runs that have not ended, or whose response could not be stored. A retry may run again after the lease.
    pub runs: usize,
    /// Claims of requests that did not run and that the store has not withdrawn. Their keys may stay taken until their
    /// leases expire; nothing else is lost.
    pub withdrawals: usize,
}

impl Idempotency {
    /// Accepts no new keys from now on, and returns once every run has ended and stored its response.
    ///
    /// Meanwhile requests with a key get 503. Call it when the server stops accepting connections. It waits as long as
    /// the slowest run takes, and for a store that cannot be reached up to a minute or a lease. A service that has to
    /// stop in time calls [`shutdown_within`](Self::shutdown_within).
    pub async fn shutdown(&self) {
        self.0.active_runs.close();
        self.0.active_runs.idle().await;
    }

    /// Like [`shutdown`](Self::shutdown), with a time limit.
    ///
    /// Once all runs have ended and their responses are stored, it waits at most five more seconds for claims to be
    /// withdrawn.
    ///
    /// # Errors
    ///
    /// If work is unfinished at the deadline. That work continues for as long as the runtime does.
    pub async fn shutdown_within(&self, limit: Duration) -> Result<(), Unfinished> {
        let runs = &self.0.active_runs;
        runs.close();
        let idle = async {
            runs.ended().await;
            timeout(STORE_TIMEOUT, runs.idle()).await.is_ok()
        };
        if timeout(limit, idle).await == Ok(true) {
            return Ok(());
        }
        match runs.unfinished() {
            (0, 0) => Ok(()),
            (runs, withdrawals) => Err(Unfinished { runs, withdrawals }),
        }
    }
}

impl fmt::Display for Unfinished {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} runs have not ended or are not stored, {} claims have not been withdrawn",
            self.runs, self.withdrawals,
        )
    }
}

impl Error for Unfinished {}
