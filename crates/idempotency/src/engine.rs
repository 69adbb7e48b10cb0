mod bounded;
mod claim;
mod resolve;
mod running;
mod runs;
mod sweep;
mod value;
mod wait;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::sync::Semaphore;

#[cfg(feature = "axum")]
use crate::http::HttpConfig;
use crate::{
    Claim, Fenced, Fingerprint, Hold, IdempotencyKey, Options, Phase, RecordId, Refusal, Scope,
    Store, Token, fingerprint::digest,
};
use bounded::bounded;
use running::Running;
use runs::{Runs, Ticket};

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
    waiting: Semaphore,
    sweeper: sweep::Sweeper,
}

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

/// How many duplicates may wait at one time; the next one is answered as if it did not want to.
const MOST_WAITING: usize = 1024;

/// Which record a request concerns, and what it asks.
pub(crate) struct Operation {
    pub(crate) id: RecordId,
    pub(crate) fingerprint: Fingerprint,
}

/// What a run leaves: the answer for its caller, and what the store keeps of it, if anything.
pub(crate) struct Ending<R> {
    pub(crate) answer: R,
    pub(crate) outcome: Option<Bytes>,
}

/// What a claim has come to.
pub(crate) enum Begun<'a> {
    /// The key is the caller's, who now runs the work.
    Won(Won<'a>),
    /// The work has been done before.
    Replayed(Replay),
}

/// A hold, with all that is needed to run under it.
pub(crate) struct Won<'a> {
    idempotency: &'a Idempotency,
    operation: Operation,
    hold: Hold,
    ticket: Ticket,
}

/// How a run has ended.
pub(crate) enum Finished<R> {
    /// In order.
    Executed(Executed<R>),
    /// Without its key, which somebody else took, and finished.
    Replayed(Replay),
}

/// What came of the work. Its answer is stored until then, or not at all.
#[cfg_attr(
    not(feature = "axum"),
    expect(dead_code, reason = "only HTTP tells clients until when")
)]
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
        IdempotencyBuilder {
            store,
            namespace: "".into(),
            secret: Box::default(),
            sweep_every: Duration::from_secs(300),
            #[cfg(feature = "axum")]
            http: HttpConfig::default(),
        }
    }

    /// The store, for those who operate it.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        self.0.store.as_ref()
    }

    /// The id under which the store keeps this key.
    #[must_use]
    pub fn record_id(&self, scope: &Scope, key: &IdempotencyKey) -> RecordId {
        let (kind, name) = scope.parts();
        let key = key.expose().as_bytes();
        let namespace = self.0.namespace.as_bytes();
        RecordId::from_bytes(digest([
            b"record 1".as_slice(),
            &self.0.secret,
            namespace,
            kind,
            name,
            key,
        ]))
    }

    /// Takes no new keys from now on, and returns once every run has ended and left its answer.
    ///
    /// Requests with a key are answered 503 meanwhile. Call it when the server stops accepting.
    pub async fn shutdown(&self) {
        self.0.runs.close();
        self.0.runs.idle().await;
    }

    #[cfg(feature = "axum")]
    pub(crate) fn http(&self) -> &HttpConfig {
        &self.0.http
    }

    pub(crate) fn operation(
        &self,
        scope: &Scope,
        key: &IdempotencyKey,
        fingerprint: &Fingerprint,
    ) -> Operation {
        let fingerprint = fingerprint.keyed(&self.0.secret, key.expose().as_bytes());
        Operation {
            id: self.record_id(scope, key),
            fingerprint,
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

        let hold = Hold {
            id: operation.id,
            token: Token::random(),
            lease: options.lease(),
            ttl: options.ttl,
        };
        let (hold, claim) = self
            .claim(hold, &operation.fingerprint, options.on_lost, patience)
            .await?;
        match claim {
            Claim::Won { attempt, .. } => {
                if attempt > 1 {
                    tracing::warn!(
                        idempotency.record = %hold.id,
                        attempt,
                        "took over a key whose owner did not come back",
                    );
                }
                Ok(Begun::Won(Won {
                    idempotency: self,
                    operation,
                    hold,
                    ticket,
                }))
            }
            Claim::InFlight { fingerprint } => {
                same_request(&operation.fingerprint, &fingerprint)?;
                Err(Refusal::InProgress)
            }
            Claim::Unknown { fingerprint } => {
                same_request(&operation.fingerprint, &fingerprint)?;
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
                same_request(&operation.fingerprint, &fingerprint)?;
                Ok(Begun::Replayed(Replay {
                    outcome,
                    expires_at,
                }))
            }
        }
    }

    /// A run that lost its lease has stored nothing, so its answer is nobody's: two answers to one key would
    /// contradict each other. The client gets what the key's owner left, or is told to come back.
    async fn answer_of_the_new_owner(&self, operation: Operation) -> Result<Replay, Refusal> {
        tracing::error!(
            idempotency.record = %operation.id,
            "a run outlived its lease and another one took over; its answer is dropped",
        );
        let Some(record) = bounded(self.0.store.inspect(&operation.id)).await? else {
            return Err(Refusal::InProgress);
        };
        // The key may have been freed by an operator, and then taken for something else.
        same_request(&operation.fingerprint, &record.fingerprint)?;
        match record.phase {
            Phase::Completed { outcome } => Ok(Replay {
                outcome,
                expires_at: record.expires_at,
            }),
            Phase::InFlight { .. } => Err(Refusal::InProgress),
        }
    }
}

impl Won<'_> {
    /// Runs the work, and stores what it leaves.
    ///
    /// Nobody who drops this future stops it: the work would go on in a task of its own.
    pub(crate) async fn run<R, W>(self, work: W) -> Result<Finished<R>, Refusal>
    where
        R: Send + 'static,
        W: Future<Output = Ending<R>> + Send + 'static,
    {
        let Self {
            idempotency,
            operation,
            hold,
            mut ticket,
        } = self;
        let store = Arc::clone(&idempotency.0.store);
        let run = async move {
            ticket.hold(hold.clone()).await;
            let ending = work.await;
            claim::finish(store, hold, ending, ticket).await
        };
        match Running::new(run).await {
            Ok(Fenced::Done(executed)) => Ok(Finished::Executed(executed)),
            Ok(Fenced::Lost) => {
                let replay = Box::pin(idempotency.answer_of_the_new_owner(operation)).await?;
                Ok(Finished::Replayed(replay))
            }
            Err(_) => Err(Refusal::Panicked),
        }
    }
}

impl IdempotencyBuilder {
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
            waiting: Semaphore::new(MOST_WAITING),
            sweeper: sweep::Sweeper::default(),
        }))
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

/// Whether a record that exists concerns the same request.
fn same_request(asked: &Fingerprint, recorded: &Fingerprint) -> Result<(), Refusal> {
    match asked == recorded {
        true => Ok(()),
        false if asked.comparable(recorded) => Err(Refusal::Reused),
        false => Err(Refusal::Incomparable),
    }
}
