mod active_runs;
mod begin;
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
#[cfg(feature = "axum")]
mod routes;
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
    Options, Store,
    options::EffectiveOptions,
    progress::Progress,
    record::{RecordId, ScopeId},
    store::transaction::NewOutcome,
};
use active_runs::ActiveRuns;
use local_locks::LocalLocks;
use rotation::OtherSecret;
#[cfg(feature = "axum")]
use routes::Routes;
use scope_limits::ScopeLimits;
use waiting::WaitingRoom;

pub(crate) use active_runs::MAX_EXECUTION;
pub(crate) use active_runs::RunGuard;
#[cfg(feature = "axum")]
pub(crate) use begin::Waiting;
#[cfg(feature = "axum")]
pub(crate) use claimed_run::Begun;
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
    secret: Arc<[u8]>,
    /// The id of the scope that all unidentified callers share.
    anonymous: ScopeId,
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
    #[cfg(feature = "axum")]
    routes: Routes,
    sweeper: sweep::Sweeper,
}

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
pub(crate) enum NextAction {
    /// The caller holds the key, and runs the work.
    Run(Box<ClaimedRun>),
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
}

impl fmt::Debug for Idempotency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Idempotency")
            .field("store", &self.0.store)
            .finish_non_exhaustive()
    }
}
