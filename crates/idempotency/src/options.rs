mod effective;

use std::{error::Error, time::Duration};

use bytes::Bytes;
use http::request::Parts;

use crate::{OnLost, Scope};

pub(crate) use effective::EffectiveOptions;

/// Whose key it is, by the head of the request.
pub type ScopeFn = fn(&Parts) -> Result<Scope, Box<dyn Error + Send + Sync>>;

/// What of the body counts for the fingerprint, by the head and the whole body; it must be deterministic.
pub type FingerprintFn = fn(&Parts, &Bytes) -> Vec<u8>;

/// What one handler, layer or call wants of the protocol; the attribute's arguments, as a constant.
///
/// What it says nothing of, [`with_defaults`](crate::IdempotencyBuilder::with_defaults) says for all that an engine protects, and else
/// the library.
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
/// // What must rather stop than happen twice.
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
}

const DEFAULT_TTL: Duration = Duration::from_secs(24 * 60 * 60);

const DEFAULT_LEASE: Duration = Duration::from_secs(30);

/// When a key's record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunMode {
    /// The key is claimed before the work begins, and held under a lease while it runs. The default.
    Lease,
    /// The record is written in the run's own transaction, by which the run ends: rows, key and response are one commit.
    ///
    /// A handler ends by [`Execution::commit`](crate::Execution::commit), work under
    /// [`run_with`](crate::Idempotency::run_with) by [`Execution::commit_value`](crate::Execution::commit_value).
    /// [`run`](crate::Idempotency::run) has no transaction, and goes by a lease.
    Transactional,
}

/// What a duplicate gets while the first run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnDuplicate {
    /// 409 with `Retry-After`, at once.
    Conflict,
    /// The answer, once it is there; 409 if that takes longer than ten seconds.
    Wait,
}

/// Which answers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Keep {
    /// Those that will not change: 2xx, 3xx except 307 and 308, and the handler's own 4xx except those with `Retry-After`,
    /// a 415 with `Accept-Encoding`, and those about credentials and limits.
    Final,
    /// 5xx and panics too.
    All,
}

impl Options {
    /// Those of the engine; without any a key that may be missing, kept for 24 hours, leased for 30 seconds.
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
        }
    }

    /// How long a response is replayed, counted from completion.
    ///
    /// Clients are told this time. The store keeps the response a tenth longer, at most a minute, for retries that were sent
    /// in time.
    ///
    /// # Panics
    ///
    /// If it is zero, more than ten years, or not a whole number of seconds; at compile time, in a constant.
    #[must_use]
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        assert!(!ttl.is_zero(), "the ttl must be at least one second");
        assert!(
            ttl.subsec_nanos() == 0,
            "the ttl must be a whole number of seconds"
        );
        assert!(
            ttl.as_secs() <= 315_360_000,
            "the ttl must be at most ten years (315360000 seconds)"
        );
        self.ttl = Some(ttl);
        self.checked()
    }

    /// How long a hold lives without renewal, and so how long a key stays taken when its process dies; never longer than the ttl.
    ///
    /// # Panics
    ///
    /// If it is zero, longer than the ttl, or not a whole number of seconds; at compile time, in a constant.
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

    /// When the key's record is written: before the work begins, or together with its rows.
    #[must_use]
    pub const fn mode(mut self, mode: RunMode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// What a duplicate gets while the first run goes on. The client's `Prefer: wait=N` goes before it.
    #[must_use]
    pub const fn on_duplicate(mut self, on_duplicate: OnDuplicate) -> Self {
        self.on_duplicate = Some(on_duplicate);
        self
    }

    /// What the same request gets once a run's lease has lapsed.
    #[must_use]
    pub const fn on_lost(mut self, on_lost: OnLost) -> Self {
        self.on_lost = Some(on_lost);
        self
    }

    /// Which answers are stored. The response extension [`Disposition`](crate::Disposition) goes before it.
    #[must_use]
    pub const fn keep(mut self, keep: Keep) -> Self {
        self.keep = Some(keep);
        self
    }

    /// Whose key it is, by the head of the request. An error is answered with 500, never taken for "anonymous".
    #[must_use]
    pub const fn scope(mut self, scope: ScopeFn) -> Self {
        self.scope = Some(scope);
        self
    }

    /// What of the body counts, in place of canonical JSON; method, path and query count in any case.
    #[must_use]
    pub const fn fingerprint(mut self, fingerprint: FingerprintFn) -> Self {
        self.fingerprint = Some(fingerprint);
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

/// How much longer an outcome is kept than is announced: a retry that a client sends in time arrives later, and must not be
/// a second run.
pub(crate) fn grace(ttl: Duration) -> Duration {
    (ttl / 10).min(Duration::from_secs(60))
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}
