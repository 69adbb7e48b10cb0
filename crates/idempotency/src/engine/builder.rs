mod limits;

#[cfg(feature = "axum")]
use std::error::Error;
use std::{fmt, sync::Arc, time::Duration};

#[cfg(feature = "axum")]
use http::request::Parts;
use tokio::sync::Semaphore;

#[cfg(feature = "axum")]
use super::routes::Routes;
use super::{
    Engine, Idempotency,
    active_runs::ActiveRuns,
    ids, metrics,
    rotation::OtherSecret,
    scope_limits::{Rate, ScopeLimits},
    sweep,
};
#[cfg(feature = "axum")]
use crate::HttpConfig;
use crate::{
    Options, Scope, Store,
    store::{sealed::SealedStore, transaction::is_finite},
};

/// The caller's scope, or why it cannot be determined.
#[cfg(feature = "axum")]
pub(crate) type FoundScope = Result<Scope, Box<dyn Error + Send + Sync>>;

/// A function that determines the scope from the head of any request.
#[cfg(feature = "axum")]
pub(super) type EngineScope = Box<dyn Fn(&Parts) -> FoundScope + Send + Sync>;

/// Settings of an engine, for [`Idempotency::builder`].
pub struct IdempotencyBuilder {
    store: Arc<dyn Store>,
    namespace: Box<str>,
    secret: Option<Arc<[u8]>>,
    other_secret: Option<OtherSecret>,
    sweep_every: Duration,
    max_running: usize,
    new_keys_per_scope: Option<Rate>,
    live_keys_per_scope: Option<usize>,
    defaults: Options,
    #[cfg(feature = "axum")]
    http: HttpConfig,
    #[cfg(feature = "axum")]
    scope: Option<EngineScope>,
}

impl IdempotencyBuilder {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            namespace: "".into(),
            secret: None,
            other_secret: None,
            sweep_every: Duration::from_secs(300),
            max_running: Semaphore::MAX_PERMITS,
            new_keys_per_scope: None,
            live_keys_per_scope: None,
            defaults: Options::new(),
            #[cfg(feature = "axum")]
            http: HttpConfig::default(),
            #[cfg(feature = "axum")]
            scope: None,
        }
    }

    /// Separates this service's keys from those of other services in the same store.
    #[must_use]
    pub fn with_namespace(mut self, namespace: &str) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Makes stored data unreadable to an attacker who has a copy of the store, such as a backup, but not the secret.
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
    /// Digests of keys, callers and requests are keyed with the secret, so that an attacker cannot test guesses.
    /// Responses and the results of steps are encrypted (XChaCha20-Poly1305), each bound to its record. Data that was
    /// changed, moved from another record, or not encrypted causes an error, and nothing runs.
    ///
    /// Without a secret an attacker with a copy can read responses, derive [child keys](crate::Execution::child_key), and
    /// test millions of guesses a second offline: keys that are not random, then the principal or the credentials,
    /// including passwords of Basic authentication, then bodies.
    ///
    /// Use 32 random bytes, and store them apart from every copy of the store. Every process that shares the store needs
    /// the same secret. A different secret, or the first one for a store that has records, makes the engine forget all
    /// keys, and retries run again, unless the secret is [changed in steps](Self::with_next_secret). Encryption adds 45
    /// bytes to a response.
    ///
    /// [`build`](Self::build) panics if the secret is empty, unless another one is given for a change.
    #[must_use]
    pub fn with_secret(mut self, secret: &[u8]) -> Self {
        self.secret = Some(secret.into());
        self
    }

    /// Announces the next secret, in the first of the three deployments by which a secret is changed. The [guide to
    /// security](crate::guide::security#changing-the-secret) has the rules for each.
    ///
    /// | Deployment | Settings |
    /// |---|---|
    /// | 1 | `with_secret(old).with_next_secret(new)` |
    /// | 2 | `with_secret(new).with_previous_secret(old)` |
    /// | 3, twice the longest ttl later | `with_secret(new)` |
    ///
    /// No key is forgotten, and a key runs once although services of two neighbouring deployments serve it. In the
    /// meantime a claim uses both secrets, the older one first, which takes up to four more calls of the store,
    /// transactional handlers run under a lease, and a run whose record the store has lost does not claim its key again. A first secret is introduced in the same way, with an empty one as the
    /// old secret.
    ///
    /// A request that failed without a step in the first or the second deployment, and is retried in the other one, gets
    /// different [child keys](crate::Execution::child_key).
    ///
    /// # Panics
    ///
    /// If a previous secret is given too: one change has to end before the next begins.
    #[must_use]
    pub fn with_next_secret(self, secret: &[u8]) -> Self {
        self.with_other_secret(OtherSecret::Next(secret.into()))
    }

    /// Reads what services stored under the previous secret, in the second of the three deployments by which a [secret is
    /// changed](Self::with_next_secret).
    ///
    /// # Panics
    ///
    /// If a next secret is given too: one change has to end before the next begins.
    #[must_use]
    pub fn with_previous_secret(self, secret: &[u8]) -> Self {
        self.with_other_secret(OtherSecret::Previous(secret.into()))
    }

    fn with_other_secret(mut self, other: OtherSecret) -> Self {
        assert!(
            self.other_secret.is_none(),
            "an engine has a previous secret or a next one, not both: one change of the secret has to end before the next one"
        );
        self.other_secret = Some(other);
        self
    }

    /// Sets how often expired records are removed: every five minutes by default. An expired record is not replayed,
    /// removed or not.
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

    /// Sets the defaults for options that the attribute, the layer's options or those of a call leave unset, field by
    /// field.
    ///
    /// ```
    /// # #[cfg(feature = "macros")]
    /// # {
    /// use std::time::Duration;
    ///
    /// use idempotency::{Idempotency, MemoryStore, OnDuplicate, Options, idempotent};
    ///
    /// /// Stored for an hour, and a duplicate waits.
    /// #[idempotent]
    /// async fn book() {}
    ///
    /// /// Stored for a week, and a duplicate waits too.
    /// #[idempotent(ttl_seconds = 604_800)]
    /// async fn pay() {}
    ///
    /// let defaults = Options::new().ttl(Duration::from_secs(3600)).on_duplicate(OnDuplicate::Wait);
    /// let idempotency = Idempotency::builder(MemoryStore::new()).with_defaults(defaults).build();
    /// # }
    /// ```
    ///
    /// An attribute can replace a number or a function. It cannot unset a default such as `required`, so leave out of the
    /// defaults what some handlers must not have; [`Idempotent::mode`](crate::Idempotent::mode) takes
    /// [`RunMode::Lease`](crate::options::RunMode::Lease). A layer and a call can unset any default but `required`. If the lease
    /// and the ttl come from different places, a lease longer than the ttl is shortened to it. [`run`](Idempotency::run)
    /// has no transaction, whatever this sets.
    #[must_use]
    pub fn with_defaults(mut self, options: Options) -> Self {
        self.defaults = options;
        self
    }

    /// Sets the function that determines the caller's scope from the head of any request with a key, for all handlers and
    /// layers that do not set their own.
    ///
    /// ```
    /// use std::{collections::HashMap, sync::Arc};
    ///
    /// use idempotency::{Idempotency, MemoryStore, Scope};
    ///
    /// // An authentication layer outside of the engine refuses requests with unknown keys.
    /// let accounts: Arc<HashMap<String, u64>> = Arc::default();
    /// let idempotency = Idempotency::builder(MemoryStore::new())
    ///     .with_scope(move |head| {
    ///         let api_key = head.headers.get("x-api-key").ok_or("no API key")?;
    ///         let account = accounts.get(api_key.to_str()?).ok_or("an unknown API key")?;
    ///         Ok(Scope::principal(format!("account/{account}")))
    ///     })
    ///     .build();
    /// ```
    ///
    /// The first of these applies: the attribute's `principal` or `scope`, or the [`scope`](Options::scope) of a layer's
    /// options or of the [defaults](Self::with_defaults); this function; a [`Scope`] in the request's extensions; the
    /// request's credentials. So with this function the last two are ignored, unless the function reads them:
    /// `head.extensions.get::<Scope>()`. If it returns an error, the request fails with 500; it is never treated as
    /// anonymous.
    ///
    /// The function runs on every request with a key, including replays, and must not block. It must use verified data
    /// only: a client that can choose another caller's scope gets that caller's responses.
    #[cfg(feature = "axum")]
    #[must_use]
    pub fn with_scope(
        mut self,
        scope: impl Fn(&Parts) -> Result<Scope, Box<dyn Error + Send + Sync>> + Send + Sync + 'static,
    ) -> Self {
        self.scope = Some(Box::new(scope));
        self
    }

    /// Sets how requests are read and responses are marked.
    #[cfg(feature = "axum")]
    #[must_use]
    pub fn with_http(mut self, http: HttpConfig) -> Self {
        self.http = http;
        self
    }

    /// Builds the engine.
    ///
    /// # Panics
    ///
    /// If [`with_max_stored_body`](HttpConfig::with_max_stored_body) is more than the store can hold, if a store
    /// [wraps](Store::wrapped) itself, if the secret is empty and no other one is given, or if both are the same.
    #[must_use]
    pub fn build(self) -> Idempotency {
        assert!(
            is_finite(&self.store),
            "following `Store::wrapped` from the store `{}` does not end: a wrapper names the store inside it, never itself",
            self.store.name(),
        );
        let other_secret = self.other_secret.as_ref().map(OtherSecret::bytes);
        assert!(
            other_secret.is_some() || self.secret.as_deref() != Some(&[]),
            "with_secret has an empty secret, which protects nothing: read the secret before, or leave with_secret out"
        );
        let secret = self.secret.unwrap_or_default();
        assert!(
            other_secret.map(|other| &**other) != Some(&*secret),
            "with_secret and {} have the same secret: a change of the secret needs two",
            match &self.other_secret {
                Some(OtherSecret::Next(_)) => "with_next_secret",
                _ => "with_previous_secret",
            },
        );
        let store: Arc<dyn Store> = if secret.is_empty() && other_secret.is_none() {
            self.store
        } else {
            Arc::new(SealedStore::new(
                self.store,
                &secret,
                other_secret.map(|other| &**other),
            ))
        };
        #[cfg(feature = "axum")]
        if let Some(bytes) = self.http.max_stored_body {
            let limit = store.outcome_limit();
            assert!(
                bytes <= limit,
                "with_max_stored_body({bytes}) is more than the store `{}` can hold, which is {limit} bytes including the header fields",
                store.name(),
            );
        }
        metrics::describe();
        Idempotency(Arc::new(Engine {
            store,
            anonymous: ids::scope_id(&secret, &self.namespace, &Scope::anonymous()),
            namespace: self.namespace,
            secret,
            sweep_every: self.sweep_every,
            defaults: self.defaults,
            #[cfg(feature = "axum")]
            http: self.http,
            #[cfg(feature = "axum")]
            scope: self.scope,
            active_runs: Arc::new(ActiveRuns::new(self.other_secret.is_some())),
            other_secret: self.other_secret,
            local_locks: Arc::default(),
            running: Arc::new(Semaphore::new(self.max_running)),
            scope_limits: ScopeLimits::new(self.new_keys_per_scope, self.live_keys_per_scope),
            waiting: Arc::default(),
            #[cfg(feature = "axum")]
            routes: Routes::default(),
            sweeper: sweep::Sweeper::default(),
        }))
    }
}

/// Leaves out the namespace and the secret.
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
