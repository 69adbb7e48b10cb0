//! The [options](crate::Options) of one handler, layer or call, and their values.

mod effective;
mod json_without;
mod ttl;

use std::{error::Error, time::Duration};

use bytes::Bytes;
use http::request::Parts;

use crate::{OnLost, Scope, key::KeyFn};

pub(crate) use effective::EffectiveOptions;
use ttl::MAX_TTL;

pub use ttl::Ttl;

/// Determines the caller's scope from the head of the request.
pub type ScopeFn = fn(&Parts) -> Result<Scope, Box<dyn Error + Send + Sync>>;

/// Determines what of the body counts for the fingerprint, from the head and the whole body. It must be deterministic.
pub type FingerprintFn = fn(&Parts, &Bytes) -> Vec<u8>;

/// The options of one handler, layer or call: the attribute's arguments, as a constant.
///
/// Options that are not set come from [`with_defaults`](crate::IdempotencyBuilder::with_defaults) of the engine, and
/// otherwise from the library.
///
/// ```
/// use std::time::Duration;
///
/// use idempotency::{OnDuplicate, OnLost, Options};
///
/// const OPTIONS: Options = Options::new()
///     .ttl(Duration::from_secs(3600))
///     .on_duplicate(OnDuplicate::Wait);
///
/// // For work that must stop rather than happen twice.
/// const TRANSFER: Options = Options::new().on_lost(OnLost::Refuse);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Options {
    ttl: Option<Duration>,
    lease: Option<Duration>,
    required: Option<bool>,
    mode: Option<RunMode>,
    on_duplicate: Option<OnDuplicate>,
    on_lost: Option<OnLost>,
    keep: Option<Keep>,
    scope: Option<ScopeFn>,
    fingerprint: Option<FingerprintFn>,
    key: Option<KeyFn>,
    /// Whether the handler has a function that rebuilds responses. This describes it, and changes nothing.
    rebuilds: bool,
}

const DEFAULT_TTL: Duration = Duration::from_secs(24 * 60 * 60);

const DEFAULT_LEASE: Duration = Duration::from_secs(30);

/// When a key's record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunMode {
    /// The key is claimed before the work begins, and held under a lease while it runs. The default.
    Lease,
    /// The record is written in the run's own transaction, which ends the run: rows, key and response are one commit.
    ///
    /// A handler ends by [`Execution::commit`](crate::Execution::commit), and work under
    /// [`run_with`](crate::Idempotency::run_with) by [`Execution::commit_value`](crate::Execution::commit_value).
    /// [`run`](crate::Idempotency::run) has no transaction, and uses a lease.
    Transactional,
}

/// How a duplicate is handled while the first run is in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnDuplicate {
    /// It gets 409 with `Retry-After`, at once.
    Conflict,
    /// It gets the response, once that is stored; 409 if that takes longer than ten seconds.
    Wait,
}

/// Which responses are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Keep {
    /// Responses that will not change: 2xx, 3xx except 307 and 308, and the handler's own 4xx except those with
    /// `Retry-After`, a 415 with `Accept-Encoding`, and those about credentials and limits.
    Final,
    /// Every response, also 5xx and panics.
    All,
    /// Responses of status 2xx only. For callers that send a request again until it succeeds, as senders of webhooks do: a
    /// stored refusal would be repeated to them until they give up.
    Success,
}

impl Options {
    /// Sets no option. By default the key is optional, the response is stored for 24 hours, and the lease is 30 seconds.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            ttl: None,
            lease: None,
            required: None,
            mode: None,
            on_duplicate: None,
            on_lost: None,
            keep: None,
            scope: None,
            fingerprint: None,
            key: None,
            rebuilds: false,
        }
    }

    /// Sets how long a response is replayed, counted from completion.
    ///
    /// A response can have [its own](Ttl). Clients are told this time. The store keeps it a tenth longer (at most a minute), for
    /// retries still on their way.
    ///
    /// # Panics
    ///
    /// If the ttl is zero, more than ten years, or not a whole number of seconds; at compile time, in a constant.
    #[must_use]
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        assert!(!ttl.is_zero(), "the ttl must be at least one second");
        assert!(
            ttl.subsec_nanos() == 0,
            "the ttl must be a whole number of seconds"
        );
        assert!(
            ttl.as_secs() <= MAX_TTL.as_secs(),
            "the ttl must be at most ten years (315360000 seconds)"
        );
        self.ttl = Some(ttl);
        self.checked()
    }

    /// Sets how long a hold lives without renewal, which is how long a key stays taken when its process dies. It is never
    /// longer than the ttl.
    ///
    /// # Panics
    ///
    /// If the lease is zero, longer than the ttl, or not a whole number of seconds; at compile time, in a constant.
    #[must_use]
    pub const fn lease(mut self, lease: Duration) -> Self {
        assert!(!lease.is_zero(), "the lease must be at least one second");
        assert!(
            lease.subsec_nanos() == 0,
            "the lease must be a whole number of seconds"
        );
        self.lease = Some(lease);
        self.checked()
    }

    /// Refuses requests without a key.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = Some(true);
        self
    }

    /// Sets when the key's record is written: before the work begins, or together with its rows.
    #[must_use]
    pub const fn mode(mut self, mode: RunMode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Sets what a duplicate gets while the first run is in progress. The client's `Prefer: wait=N` takes precedence.
    #[must_use]
    pub const fn on_duplicate(mut self, on_duplicate: OnDuplicate) -> Self {
        self.on_duplicate = Some(on_duplicate);
        self
    }

    /// Sets what the same request gets once a run's lease has expired.
    #[must_use]
    pub const fn on_lost(mut self, on_lost: OnLost) -> Self {
        self.on_lost = Some(on_lost);
        self
    }

    /// Sets which responses are stored. The response extension [`Disposition`](crate::Disposition) takes precedence.
    #[must_use]
    pub const fn keep(mut self, keep: Keep) -> Self {
        self.keep = Some(keep);
        self
    }

    /// Sets how the caller's scope is determined from the head of the request. If the function returns an error, the
    /// request fails with 500; it is never treated as anonymous.
    #[must_use]
    pub const fn scope(mut self, scope: ScopeFn) -> Self {
        self.scope = Some(scope);
        self
    }

    /// Sets where the key comes from, in place of the field `Idempotency-Key`, which is then ignored: from another field or a
    /// member of the body. See [`KeyRequest`](crate::key::KeyRequest), and [`webhooks`](crate::webhooks) for the ids of deliveries.
    ///
    /// A request for which the function returns no key is like one without the field: it runs unprotected, or is refused if a key is
    /// [required](Self::required). With a key in the body, the whole body is read before the handler is called, even if the request
    /// has no key.
    #[must_use]
    pub const fn key(mut self, key: KeyFn) -> Self {
        self.key = Some(key);
        self
    }

    /// Sets what of the body counts, in place of canonical JSON. Method, path and query always count.
    /// [`json_without!`](crate::json_without!) and [`ignore_body`](crate::fingerprint::ignore_body()) are such functions.
    #[must_use]
    pub const fn fingerprint(mut self, fingerprint: FingerprintFn) -> Self {
        self.fingerprint = Some(fingerprint);
        self
    }

    #[cfg(feature = "axum")]
    pub(crate) const fn rebuilding(mut self) -> Self {
        self.rebuilds = true;
        self
    }

    const fn checked(self) -> Self {
        if let Some(lease) = self.lease {
            let ttl = match self.ttl {
                Some(ttl) => ttl,
                None => DEFAULT_TTL,
            };
            assert!(
                lease.as_secs() <= ttl.as_secs(),
                "the lease must not be longer than the ttl"
            );
        }
        self
    }
}

/// How much longer an outcome is stored than is announced: a retry that a client sends in time arrives later, and must
/// not run again.
pub(crate) fn grace(ttl: Duration) -> Duration {
    (ttl / 10).min(Duration::from_secs(60))
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}
