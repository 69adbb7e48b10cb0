mod bounded;
mod builder;
mod claim;
mod finish;
mod holds;
mod ids;
mod places;
mod reclaim;
mod renewer;
mod resolve;
mod running;
mod running_keys;
mod runs;
mod shutdown;
#[cfg(feature = "axum")]
mod standing;
mod sweep;
mod take_over;
mod transactional;
mod value;
mod wait;
mod waiting;
mod withdrawals;
mod won;

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::sync::Semaphore;

#[cfg(feature = "axum")]
use crate::http::HttpConfig;
use crate::{
    Claim, Fingerprint, Hold, IdempotencyKey, Options, RecordId, Refusal, Scope, ScopeId, Store,
    Token, fingerprint::Forms, options, progress::Progress,
};
use claim::Claimed;
use running_keys::{RunningKeys, Visit};
use runs::Runs;
#[cfg(not(feature = "axum"))]
use runs::Ticket;
use waiting::{Waiter, WaitingRoom};
use won::{Won, WonClaim};

#[cfg(feature = "axum")]
pub(crate) use running::Running;
#[cfg(feature = "axum")]
pub(crate) use runs::MAX_EXECUTION;
#[cfg(feature = "axum")]
pub(crate) use runs::Ticket;
#[cfg(feature = "axum")]
pub(crate) use standing::Standing;

pub use builder::IdempotencyBuilder;
pub use shutdown::Unfinished;
pub use value::Run;
pub use value::RunError;

/// The protocol over one store: claim the key, run the work, store its answer, give that answer again.
///
/// Clones are handles on one engine. Put it where handlers find it:
///
/// ```
/// use axum::{Extension, Router, routing::post};
/// use idempotency::{Idempotency, MemoryStore, idempotent};
///
/// #[idempotent(ttl_seconds = 3600)]
/// async fn create_booking() -> &'static str {
///     "booked"
/// }
///
/// let app: Router = Router::new()
///     .route("/bookings", post(create_booking))
///     .layer(Extension(Idempotency::new(MemoryStore::new())));
/// ```
#[derive(Clone)]
pub struct Idempotency(Arc<Engine>);

struct Engine {
    store: Arc<dyn Store>,
    namespace: Box<str>,
    secret: Box<[u8]>,
    sweep_every: Duration,
    #[cfg(feature = "axum")]
    http: HttpConfig,
    runs: Arc<Runs>,
    running_keys: Arc<RunningKeys>,
    running: Arc<Semaphore>,
    waiting: Arc<WaitingRoom>,
    scopes: RandomState,
    sweeper: sweep::Sweeper,
}

/// How often a claim changes to the form of the fingerprint that it finds: each time, a process of another version has given
/// the key back in between.
const MAX_FORMS: usize = 4;

/// Which record a request concerns, and what it asks.
pub(crate) struct Operation {
    pub(crate) id: RecordId,
    pub(crate) scope: ScopeId,
    /// In the form under which it is claimed.
    pub(crate) fingerprint: Fingerprint,
    pub(crate) forms: Forms,
    pub(crate) waiter: Waiter,
    /// How much earlier the end of its record is announced.
    pub(crate) grace: Duration,
}

/// How the work has ended: the answer for its caller, and what is kept of it.
pub(crate) struct Ending<R> {
    pub(crate) answer: R,
    pub(crate) leaves: Leaves,
}

/// What a run leaves under its key.
#[cfg_attr(
    not(feature = "axum"),
    expect(dead_code, reason = "only handlers can commit by themselves")
)]
pub(crate) enum Leaves {
    /// This, for every retry.
    Outcome(Bytes),
    /// Nothing: the next request runs.
    Nothing,
    /// The steps that it has done, with which the next attempt goes on.
    Steps(Progress),
    /// Nothing or the steps, once those have ended that the handler has begun and not waited for.
    AfterSteps(Pin<Box<dyn Future<Output = Leaves> + Send + Sync>>),
    /// What its own transaction has committed already, to be kept until then.
    Committed(SystemTime),
    /// What somebody else has left, or its own transaction without its knowing.
    Other,
    /// What its own transaction may have committed or not, or what a layer has stopped midway. Nobody touches it.
    Unknown,
}

/// What a claim has come to.
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart at once, and the large variant is the rule"
)]
pub(crate) enum Begun<'a> {
    /// The key is the caller's, who now runs the work.
    Won(Won<'a>),
    /// The work has been done before.
    Replayed(Replay),
}

/// How a run has ended.
pub(crate) enum Finished<R> {
    /// In order.
    Executed(Executed<R>),
    /// Without its key, which somebody else took, and finished.
    Replayed(Replay),
}

/// What came of the work. Its answer is stored until then, or not at all.
pub(crate) struct Executed<R> {
    pub(crate) answer: R,
    pub(crate) expires_at: Option<SystemTime>,
}

/// What the store kept of an earlier run, and until when.
#[cfg_attr(
    not(feature = "axum"),
    expect(dead_code, reason = "only HTTP tells clients until when")
)]
pub(crate) struct Replay {
    pub(crate) outcome: Bytes,
    pub(crate) expires_at: SystemTime,
}

impl Idempotency {
    /// An engine with default settings over this store.
    #[must_use]
    pub fn new(store: impl Store) -> Self {
        Self::builder(Arc::new(store)).build()
    }

    /// An engine whose settings can be changed first.
    #[must_use]
    pub fn builder(store: Arc<dyn Store>) -> IdempotencyBuilder {
        IdempotencyBuilder::new(store)
    }

    /// The store, for those who operate it.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        self.0.store.as_ref()
    }

    /// What digests are keyed with; empty without one.
    #[cfg(feature = "axum")]
    pub(crate) fn secret(&self) -> &[u8] {
        &self.0.secret
    }

    #[cfg(feature = "axum")]
    pub(crate) fn http(&self) -> &HttpConfig {
        &self.0.http
    }

    /// What is asked under this key. While it waits, it keeps so many bytes.
    pub(crate) fn operation(
        &self,
        options: &Options,
        scope: &Scope,
        key: &IdempotencyKey,
        fingerprint: &Fingerprint,
        kept_bytes: usize,
    ) -> Operation {
        let id = self.record_id(scope, key);
        let forms = Forms::new(fingerprint, &self.0.secret, &id, key.expose().as_bytes());
        Operation {
            id,
            scope: self.scope_id(scope),
            fingerprint: forms.current(),
            forms,
            waiter: Waiter {
                scope: self.0.scopes.hash_one(scope),
                bytes: kept_bytes,
            },
            grace: options::grace(options.ttl),
        }
    }

    /// Claims the key; waits before, for up to `patience`, where the same request is running.
    pub(crate) async fn begin(
        &self,
        operation: Operation,
        options: &Options,
        patience: Option<Duration>,
    ) -> Result<Begun<'_>, Refusal> {
        let ticket = Runs::enter(&self.0.runs, &self.0.store).ok_or(Refusal::ShuttingDown)?;
        self.0
            .sweeper
            .ensure_running(&self.0.store, self.0.sweep_every);

        match options.transactional {
            true => {
                let begun = self.begin_transaction(operation, options, patience, ticket);
                begun.await
            }
            false => {
                self.begin_lease(operation, options, patience, None, ticket)
                    .await
            }
        }
    }

    /// Claims the key in the store, under a lease.
    async fn begin_lease(
        &self,
        mut operation: Operation,
        options: &Options,
        patience: Option<Duration>,
        visit: Option<Visit>,
        ticket: Ticket,
    ) -> Result<Begun<'_>, Refusal> {
        let hold = operation.hold(options);
        let (mut hold, mut claimed) = self.claim(hold, &operation, options, patience).await?;
        for _ in 0..MAX_FORMS {
            let Claim::InFlight { fingerprint } = &claimed.claim else {
                break;
            };
            if *fingerprint == operation.fingerprint || !operation.forms.match_stored(fingerprint) {
                break;
            }
            // A process of another version has begun it, and its form of the fingerprint waits for it and takes it over.
            operation.fingerprint = *fingerprint;
            let claiming = self.claim(hold, &operation, options, patience);
            (hold, claimed) = Box::pin(claiming).await?;
        }
        if matches!(claimed.claim, Claim::Unknown { .. }) {
            let claiming = self.claim_suspended(&hold, &operation.fingerprint, claimed);
            claimed = Box::pin(claiming).await?;
        }
        let Claimed {
            claim,
            sent_at,
            withdrawal,
            place,
        } = claimed;
        match claim {
            Claim::Won { attempt, progress } => {
                let progress = self.take_over(&hold, attempt, progress).await?;
                let claim = WonClaim {
                    attempt,
                    progress,
                    sent_at,
                    withdrawal,
                };
                Ok(Begun::Won(Won {
                    idempotency: self,
                    operation,
                    hold,
                    claim: Some(claim),
                    visit,
                    place,
                    ticket,
                }))
            }
            Claim::InFlight { fingerprint } => {
                operation.same_request(&fingerprint)?;
                Err(Refusal::InProgress)
            }
            Claim::Unknown { fingerprint } => {
                operation.same_request(&fingerprint)?;
                tracing::warn!(
                    idempotency.record = %operation.id,
                    "refused a key whose owner did not come back; an operator has to resolve it",
                );
                Err(Refusal::OutcomeUnknown)
            }
            Claim::Completed {
                fingerprint,
                outcome,
                expires_at,
            } => {
                operation.same_request(&fingerprint)?;
                Ok(Begun::Replayed(operation.replay(outcome, expires_at)))
            }
        }
    }
}

impl Operation {
    /// A hold on its record, under a token that nobody else has.
    fn hold(&self, options: &Options) -> Hold {
        Hold {
            id: self.id,
            scope: self.scope,
            token: Token::random(),
            lease: options.lease(),
            ttl: options.kept(),
        }
    }

    /// Refuses it if a record with this fingerprint is of another request.
    fn same_request(&self, recorded: &Fingerprint) -> Result<(), Refusal> {
        if self.forms.match_stored(recorded) {
            Ok(())
        } else if self.fingerprint.comparable(recorded) {
            Err(Refusal::Reused)
        } else {
            Err(Refusal::Incomparable)
        }
    }

    /// The outcome of an earlier run, whose record ends at this time.
    fn replay(&self, outcome: Bytes, ends_at: SystemTime) -> Replay {
        Replay {
            outcome,
            expires_at: self.announced(ends_at),
        }
    }

    /// What clients are told of this end of a record.
    fn announced(&self, ends_at: SystemTime) -> SystemTime {
        ends_at.checked_sub(self.grace).unwrap_or(ends_at)
    }
}

impl fmt::Debug for Idempotency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Idempotency")
            .field("store", &self.0.store)
            .finish_non_exhaustive()
    }
}
