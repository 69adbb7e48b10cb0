mod active_runs;
mod builder;
mod claim;
mod claimed_run;
mod commit_status;
pub(crate) mod decision;
mod detach_on_drop;
mod erase;
mod finish;
mod heartbeat;
mod holds;
mod ids;
mod key_state;
mod local_locks;
mod metrics;
#[cfg(feature = "axum")]
mod observation;
mod operation;
mod places;
mod reclaim;
mod request_outcome;
mod resolve;
mod resolve_lost;
mod rotation;
mod scope_limits;
mod shutdown;
mod store_timeout;
mod sweep;
mod take_over;
mod tally;
mod transactional;
mod verify;
mod wait;
mod waiting;
mod withdrawals;

use std::{
    any::Any,
    fmt,
    hash::RandomState,
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
#[cfg(feature = "axum")]
use http::request::Parts;
use tokio::sync::Semaphore;

#[cfg(feature = "axum")]
use crate::http_config::HttpConfig;
use crate::{
    Options, Rejection, RunMode, Store, options::EffectiveOptions, progress::Progress,
    record::RecordId, store::transaction::NewOutcome,
};
use active_runs::ActiveRuns;
use claim::Claimed;
use claimed_run::RecordedClaim;
use decision::AfterClaim;
use local_locks::{LocalLock, LocalLocks};
use rotation::OtherSecret;
use scope_limits::ScopeLimits;
use waiting::WaitingRoom;

pub(crate) use active_runs::MAX_EXECUTION;
pub(crate) use active_runs::RunGuard;
pub(crate) use claimed_run::ClaimedRun;
pub use commit_status::CommitStatus;
pub(crate) use detach_on_drop::DetachOnDrop;
#[cfg(feature = "axum")]
pub(crate) use key_state::read_stored;
pub(crate) use operation::Operation;
pub(crate) use operation::Origin;
pub(crate) use request_outcome::RequestOutcome;
pub(crate) use rotation::NamedBy;
pub(crate) use tally::Tally;

pub use builder::IdempotencyBuilder;
pub use erase::Confirmation;
pub use erase::ConfirmationError;
pub use erase::FreeRequest;
pub use erase::KeyChange;
pub use key_state::KeyState;
pub use key_state::StoredResponse;
#[cfg(feature = "axum")]
pub use observation::Observation;
pub use shutdown::Unfinished;

/// The protocol over one store: claims the key, runs the work, stores its response, and replays that response.
///
/// Clones share one engine. Put one of them where handlers find it:
///
/// ```
/// use axum::{Router, routing::post};
/// use idempotency::{Idempotency, MemoryStore, idempotent};
///
/// #[idempotent(ttl_seconds = 3600)]
/// async fn create_booking() -> &'static str {
///     "booked"
/// }
///
/// let routes = Router::new().route("/bookings", post(create_booking));
/// let app: Router = routes.layer(Idempotency::new(MemoryStore::new()).extension());
/// ```
#[derive(Clone)]
pub struct Idempotency(Arc<Engine>);

struct Engine {
    store: Arc<dyn Store>,
    namespace: Box<str>,
    secret: Box<[u8]>,
    other_secret: Option<OtherSecret>,
    sweep_every: Duration,
    defaults: Options,
    #[cfg(feature = "axum")]
    http: HttpConfig,
    #[cfg(feature = "axum")]
    scope: Option<builder::EngineScope>,
    active_runs: Arc<ActiveRuns>,
    local_locks: Arc<LocalLocks>,
    running: Arc<Semaphore>,
    /// `None` where no scope has a limit.
    scope_limits: Option<Arc<ScopeLimits>>,
    waiting: Arc<WaitingRoom>,
    scopes: RandomState,
    sweeper: sweep::Sweeper,
}

/// How often a claim switches to the fingerprint form of the record that it finds. Each switch means that a process of
/// another version released the key in between.
const MAX_FORMS: usize = 4;

/// The work's result: the response for its caller, and what is stored under the key.
pub(crate) struct WorkResult<R> {
    pub(crate) response: R,
    pub(crate) persist: Persist,
}

/// What a run leaves under its key.
#[expect(missing_debug_implementations, reason = "public for the model only")]
pub enum Persist {
    /// This outcome, for every retry.
    Outcome(NewOutcome),
    /// Nothing: the next request runs.
    Nothing,
    /// The steps that it completed, with which the next attempt resumes.
    Steps(Progress),
    /// Nothing or the steps, decided once the steps that the handler began but did not await have ended.
    AfterSteps(Pin<Box<dyn Future<Output = Persist> + Send + Sync>>),
    /// The outcome that its own transaction has committed, which lasts until this time.
    AlreadyCommitted(SystemTime),
    /// Another run's outcome, or our own commit whose confirmation was lost.
    Superseded,
    /// What its own transaction may or may not have committed, or what a layer stopped midway. The engine leaves the
    /// record untouched.
    OutcomeUnknown,
}

/// What a claim leads to.
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart at once, and the large variant is the rule"
)]
pub(crate) enum NextAction<'a> {
    /// The caller holds the key, and runs the work.
    Run(ClaimedRun<'a>),
    /// The work was done before, and its outcome is replayed.
    Replay(Replay),
}

/// How a run has ended.
pub(crate) enum Finished<R> {
    /// With its own response.
    Executed(Executed<R>),
    /// With another run's outcome, because that run took the key over and finished.
    Replayed(Replay),
}

/// A finished run. `expires_at` is `None` if its response was not stored.
pub(crate) struct Executed<R> {
    pub(crate) response: R,
    pub(crate) expires_at: Option<SystemTime>,
}

/// The outcome of an earlier run, and when it expires.
pub(crate) struct Replay {
    pub(crate) record: RecordId,
    pub(crate) outcome: Bytes,
    #[cfg_attr(
        not(feature = "axum"),
        expect(dead_code, reason = "only HTTP tells clients until when")
    )]
    pub(crate) expires_at: SystemTime,
}

impl Idempotency {
    /// Builds an engine with default settings over this store.
    #[must_use]
    pub fn new(store: impl Store) -> Self {
        Self::builder(store).build()
    }

    /// Starts an engine whose settings can be changed first.
    #[must_use]
    pub fn builder(store: impl Store) -> IdempotencyBuilder {
        // A store that is already a handle on any store needs no second one around it.
        let handle = (&store as &dyn Any)
            .downcast_ref::<Arc<dyn Store>>()
            .cloned();
        IdempotencyBuilder::new(handle.unwrap_or_else(|| Arc::new(store)))
    }

    /// The store, for operators' code.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        self.0.store.as_ref()
    }

    /// The options in effect where these options are given.
    pub(crate) fn effective(&self, options: &Options) -> EffectiveOptions {
        options.over(&self.0.defaults)
    }

    #[cfg(feature = "axum")]
    pub(crate) fn http(&self) -> &HttpConfig {
        &self.0.http
    }

    /// The caller's scope by the engine's own function, if it has one.
    #[cfg(feature = "axum")]
    pub(crate) fn scope_of(&self, head: &Parts) -> Option<builder::FoundScope> {
        self.0.scope.as_ref().map(|scope| scope(head))
    }

    /// Claims the key. Where the same request is running, waits for it first, for up to `patience`.
    pub(crate) async fn begin(
        &self,
        mut operation: Operation,
        options: &EffectiveOptions,
        patience: Option<Duration>,
    ) -> Result<NextAction<'_>, Rejection> {
        let guard =
            ActiveRuns::enter(&self.0.active_runs, &self.0.store).ok_or(Rejection::ShuttingDown)?;
        self.0
            .sweeper
            .ensure_running(&self.0.store, self.0.sweep_every);

        if let Some(other) = operation.other.take() {
            let begun = self.begin_in_rotation(operation, *other, options, patience);
            return Box::pin(begun).await;
        }
        if options.mode == RunMode::Transactional {
            let begun = self.begin_transaction(operation, options, patience, guard);
            begun.await
        } else {
            self.begin_lease(operation, options, patience, None, guard)
                .await
        }
    }

    /// Claims the key in the store, under a lease.
    async fn begin_lease(
        &self,
        mut operation: Operation,
        options: &EffectiveOptions,
        patience: Option<Duration>,
        local_lock: Option<LocalLock>,
        guard: RunGuard,
    ) -> Result<NextAction<'_>, Rejection> {
        let hold = operation.hold(options);
        let (mut hold, mut claimed) = self.claim(hold, &operation, options, patience).await?;
        let mut forms_left = MAX_FORMS;
        loop {
            let Claimed {
                claim,
                sent_at,
                withdrawal,
                place,
                admission,
            } = claimed;
            match decision::after_claim(&operation.asked, claim) {
                AfterClaim::Run { attempt, progress } => {
                    let progress = self.take_over(&hold, attempt, progress).await?;
                    let claim = RecordedClaim {
                        attempt,
                        progress,
                        sent_at,
                        withdrawal,
                    };
                    return Ok(NextAction::Run(ClaimedRun {
                        idempotency: self,
                        operation,
                        hold,
                        claim: Some(claim),
                        local_lock,
                        place,
                        admission,
                        guard,
                    }));
                }
                AfterClaim::ClaimInForm(form) if forms_left > 0 => {
                    forms_left -= 1;
                    operation.asked.fingerprint = form;
                    let claiming = self.claim(hold, &operation, options, patience);
                    (hold, claimed) = Box::pin(claiming).await?;
                }
                AfterClaim::ClaimInForm(_) => return Err(Rejection::InProgress),
                // A claim without a record takes nothing over either.
                AfterClaim::InspectLost if hold.ttl.is_zero() => {
                    return Err(Rejection::OutcomeUnknown);
                }
                AfterClaim::InspectLost => {
                    let claiming = self.claim_suspended(&hold, &operation.asked.fingerprint);
                    let Some(resumed) = Box::pin(claiming).await? else {
                        tracing::warn!(
                            idempotency.store = self.store().name(),
                            idempotency.record = %operation.id,
                            "refused a key whose owner was lost; an operator has to resolve it",
                        );
                        return Err(Rejection::OutcomeUnknown);
                    };
                    claimed = resumed;
                }
                AfterClaim::Replay {
                    outcome,
                    expires_at,
                } => return Ok(NextAction::Replay(operation.replay(outcome, expires_at))),
                AfterClaim::Refuse(rejection) => return Err(rejection),
            }
        }
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
