//! The end of an engine.

use std::{error::Error, fmt, time::Duration};

use tokio::time::timeout;

use super::{Idempotency, store_timeout::STORE_TIMEOUT};

/// What had not ended when the time for [`Idempotency::shutdown_within`] was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unfinished {
    /// Runs whose work goes on, or whose response could not be stored, so that a retry may run again after the lease.
    pub runs: usize,
    /// Claims of requests that did not run, which the store did not let be withdrawn: their keys may be taken until their
    /// leases end. Nothing else is lost.
    pub withdrawals: usize,
}

impl Idempotency {
    /// Takes no new keys from now on, and returns once every run has ended and left its answer.
    ///
    /// Requests with a key are answered 503 meanwhile. Call it when the server stops accepting. It waits for as long as the
    /// slowest run takes, and for a store that cannot be reached up to a minute or a lease, so a service that has to stop
    /// in time calls [`shutdown_within`](Self::shutdown_within).
    pub async fn shutdown(&self) {
        self.0.active_runs.close();
        self.0.active_runs.idle().await;
    }

    /// [`shutdown`](Self::shutdown), for so long at most.
    ///
    /// When all runs have ended and their responses are stored, it waits another five seconds at most for what only
    /// gives keys back.
    ///
    /// # Errors
    ///
    /// If something is unfinished then. It goes on for as long as the runtime does.
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
            "{} runs have not ended or not been stored, {} claims have not been withdrawn",
            self.runs, self.withdrawals,
        )
    }
}

impl Error for Unfinished {}
