use std::{hash::RandomState, sync::Arc, time::Duration};

use super::{Engine, Idempotency, sweep};
use crate::Store;
#[cfg(feature = "axum")]
use crate::http::HttpConfig;

/// Settings of an engine, for [`Idempotency::builder`].
#[derive(Debug)]
pub struct IdempotencyBuilder {
    store: Arc<dyn Store>,
    namespace: Box<str>,
    secret: Box<[u8]>,
    sweep_every: Duration,
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

    /// Mixes a secret into every digest, so that a stolen store does not even tell whether a guessed key
    /// was used. Everybody who shares the store needs the same one; a changed secret forgets all keys.
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
            runs: Arc::default(),
            running_keys: Arc::default(),
            waiting: Arc::default(),
            scopes: RandomState::new(),
            sweeper: sweep::Sweeper::default(),
        }))
    }
}
