use std::{fmt, hash::RandomState, sync::Arc, time::Duration};

use tokio::sync::Semaphore;

use super::{Engine, Idempotency, sweep};
use crate::Store;
#[cfg(feature = "axum")]
use crate::http_config::HttpConfig;

/// Settings of an engine, for [`Idempotency::builder`].
pub struct IdempotencyBuilder {
    store: Arc<dyn Store>,
    namespace: Box<str>,
    secret: Box<[u8]>,
    sweep_every: Duration,
    max_running: usize,
    #[cfg(feature = "axum")]
    http: HttpConfig,
}

impl IdempotencyBuilder {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            namespace: "".into(),
            secret: Box::default(),
            sweep_every: Duration::from_secs(300),
            max_running: Semaphore::MAX_PERMITS,
            #[cfg(feature = "axum")]
            http: HttpConfig::default(),
        }
    }

    /// Keeps this service's keys apart from those of others in the same store.
    #[must_use]
    pub fn with_namespace(mut self, namespace: &str) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Keys every digest with a secret, so that a copy of the store does not tell whether a guess is right.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use idempotency::{Idempotency, MemoryStore};
    ///
    /// # fn read_secret() -> Result<Vec<u8>, std::io::Error> { Ok(vec![7; 32]) }
    /// let idempotency = Idempotency::builder(MemoryStore::new())
    ///     .with_secret(&read_secret()?)
    ///     .build();
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// Without one, whoever has a copy of the store, such as a backup, can guess offline, millions of guesses a second:
    /// keys that are not random, then the principal or the credentials, including passwords of Basic authentication, then bodies; and
    /// can derive [child keys](crate::Execution::child_key). Responses are stored as they are in any case.
    ///
    /// Take 32 random bytes, and keep them where a copy of the store does not have them. Every process that shares the store needs
    /// the same secret. Another one, or the first one over a store that has records, forgets all keys, and retries run again.
    #[must_use]
    pub fn with_secret(mut self, secret: &[u8]) -> Self {
        self.secret = secret.into();
        self
    }

    /// How often expired records are removed; five minutes unless said. They are not replayed meanwhile.
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[must_use]
    pub fn with_sweep_every(mut self, every: Duration) -> Self {
        assert!(
            !every.is_zero(),
            "the time between two sweeps must not be zero"
        );
        self.sweep_every = every;
        self
    }

    /// How many runs go on at one time; by default as many as there are requests.
    ///
    /// A run goes on when its client has left, so a limit for requests, such as tower's `ConcurrencyLimit`, does not limit
    /// runs. Above this one a request that would run is refused with [`Rejection::Busy`](crate::Rejection::Busy), 503 and
    /// `Retry-After`, before its key is claimed. Stored responses are replayed all the same.
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[must_use]
    pub fn with_max_running(mut self, max: usize) -> Self {
        assert!(max > 0, "with no run at one time nothing would ever run");
        self.max_running = max.min(Semaphore::MAX_PERMITS);
        self
    }

    /// How requests are read and answers are marked.
    #[cfg(feature = "axum")]
    #[must_use]
    pub fn with_http(mut self, http: HttpConfig) -> Self {
        self.http = http;
        self
    }

    /// The engine.
    #[must_use]
    pub fn build(self) -> Idempotency {
        Idempotency(Arc::new(Engine {
            store: self.store,
            namespace: self.namespace,
            secret: self.secret,
            sweep_every: self.sweep_every,
            #[cfg(feature = "axum")]
            http: self.http,
            active_runs: Arc::default(),
            local_locks: Arc::default(),
            running: Arc::new(Semaphore::new(self.max_running)),
            waiting: Arc::default(),
            scopes: RandomState::new(),
            sweeper: sweep::Sweeper::default(),
        }))
    }
}

/// Without the namespace and the secret.
impl fmt::Debug for IdempotencyBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("IdempotencyBuilder")
            .field("store", &self.store)
            .field("sweep_every", &self.sweep_every)
            .field("max_running", &self.max_running)
            .finish_non_exhaustive()
    }
}
