//! Settings of what runs and scopes may take.

use std::time::Duration;

use tokio::sync::Semaphore;

use super::IdempotencyBuilder;
use crate::engine::scope_limits::Rate;

impl IdempotencyBuilder {
    /// Limits how many runs are active concurrently. By default there is no limit.
    ///
    /// A run continues when its client disconnects, so a limit for requests, such as tower's `ConcurrencyLimit`, does not
    /// limit runs. At the limit, a request that would run is refused with [`Rejection::Busy`](crate::Rejection::Busy),
    /// 503 and `Retry-After`, before its key is claimed. Stored responses are still replayed.
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[must_use]
    pub fn with_max_running(mut self, max: usize) -> Self {
        assert!(max > 0, "with a limit of zero nothing would ever run");
        self.max_running = max.min(Semaphore::MAX_PERMITS);
        self
    }

    /// Limits how many new keys each scope may use: `max` in each `per`, all at once or spread out. By default there is no limit.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use idempotency::{Idempotency, MemoryStore};
    ///
    /// // Six hundred new keys a minute, and at most fifty thousand whose responses are stored.
    /// let idempotency = Idempotency::builder(MemoryStore::new())
    ///     .with_max_new_keys_per_scope(600, Duration::from_secs(60))
    ///     .with_max_live_keys_per_scope(50_000)
    ///     .build();
    /// ```
    ///
    /// Above it a request with a new key is refused with
    /// [`Rejection::TooManyNewKeys`](crate::Rejection::TooManyNewKeys), 429 and `Retry-After`, and nothing is stored for it. Old
    /// keys are not limited: their responses are replayed, a duplicate of a running request gets its usual response, and a
    /// lost run is taken over. Other scopes are not affected. A key whose run failed, and that is free again, counts as new.
    ///
    /// The limit holds with every store, because the engine counts in its process, and it begins anew with the process. Several
    /// processes allow as many keys each, so give each its part. Of equal requests that arrive at once for the last key, all but one may be
    /// refused; they get its response when they retry.
    ///
    /// # Panics
    ///
    /// If one of the two is zero.
    #[must_use]
    pub fn with_max_new_keys_per_scope(mut self, max: u32, per: Duration) -> Self {
        assert!(
            max > 0 && !per.is_zero(),
            "with a limit of zero nothing would ever run"
        );
        self.new_keys_per_scope = Some(Rate::new(max, per));
        self
    }

    /// Limits how many live keys each scope may have: those whose requests run, and those whose responses are stored and
    /// have not expired. By default there is no limit.
    ///
    /// Above it a request with a new key is refused with
    /// [`Rejection::TooManyLiveKeys`](crate::Rejection::TooManyLiveKeys), 429 and `Retry-After`. For the rest it is like the limit
    /// of [new keys](Self::with_max_new_keys_per_scope), and is counted in the same place: of the records that other processes
    /// have stored, or this one before it was started again, the engine knows nothing. A key that an operator frees counts until it
    /// would have expired, and a run that is resumed or taken over only as its first attempt did. So with both limits no scope has more records than the number of processes times the smaller
    /// of this limit and what the other one allows in a ttl, plus what was stored before a restart.
    ///
    /// [`MemoryStore`](crate::MemoryStore) and the SQLite store also limit the bytes of each scope, exactly and without this.
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[must_use]
    pub fn with_max_live_keys_per_scope(mut self, max: usize) -> Self {
        assert!(max > 0, "with a limit of zero nothing would ever run");
        self.live_keys_per_scope = Some(max);
        self
    }
}
