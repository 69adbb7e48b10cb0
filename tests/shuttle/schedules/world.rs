//! A store, an engine over it, and the work of its clients.

use std::time::Duration;

use idempotency::{
    __model1::Progress,
    Execution, Fingerprint, Idempotency, IdempotencyBuilder, IdempotencyKey, OnDuplicate, OnLost,
    Options, Scope, Store,
    store::{
        Claim, ClaimRequest, Hold, IfOwner, ListRequest, Phase, Record, RecordId, Resolution, Token,
    },
};
use tokio::{
    execution, spawn,
    task::{JoinHandle, yield_now},
};

use crate::{
    client::{Failed, Reply, value},
    ledger::Ledger,
    store::{Speed, TestStore},
};

pub(crate) const KEY: &str = "booking";
pub(crate) const OTHER_KEY: &str = "another booking";
/// The name of a step in the ledger.
pub(crate) const CHARGE: &str = "charge";

/// Shorter than the engine's patience with its store, so that a lapse fails no call.
pub(crate) const LEASE: Duration = Duration::from_secs(4);
/// After it a lease has lapsed.
pub(crate) const LAPSE: Duration = Duration::from_millis(4500);
pub(crate) const TTL: Duration = Duration::from_secs(3600);

/// A duplicate waits until it is woken, since no time passes.
pub(crate) const OPTIONS: Options = Options::new()
    .ttl(TTL)
    .lease(LEASE)
    .on_duplicate(OnDuplicate::Wait);

pub(crate) struct World {
    pub(crate) store: TestStore,
    pub(crate) engine: Idempotency,
    pub(crate) ledger: Ledger,
}

impl World {
    pub(crate) fn new(speed: Speed) -> Self {
        let store = TestStore::new(speed);
        Self {
            engine: Idempotency::new(store.clone()),
            store,
            ledger: Ledger::default(),
        }
    }

    /// The engine of another process.
    pub(crate) fn process(
        &self,
        settings: fn(IdempotencyBuilder) -> IdempotencyBuilder,
    ) -> Idempotency {
        settings(Idempotency::builder(self.store.clone())).build()
    }

    /// The call of a client whose work is done once.
    pub(crate) fn call(&self, key: &'static str) -> impl Future<Output = Reply> + Send + use<> {
        let ledger = self.ledger.clone();
        self.call_with(key, async move |_| book(&ledger, key).await)
    }

    /// The call of a client.
    pub(crate) fn call_with<F, W>(
        &self,
        key: &'static str,
        work: F,
    ) -> impl Future<Output = Reply> + Send + use<F, W>
    where
        F: FnOnce(Execution) -> W + Send + 'static,
        W: Future<Output = Result<u32, Failed>> + Send + 'static,
    {
        call(self.engine.clone(), OPTIONS, key, work)
    }

    pub(crate) fn client(&self, key: &'static str) -> JoinHandle<Reply> {
        spawn(self.call(key))
    }

    pub(crate) fn id(&self) -> RecordId {
        self.engine.record_id(&scope(), &key(KEY))
    }

    pub(crate) async fn record(&self) -> Option<Record> {
        self.store.inspect(&self.id()).await.expect("a memory")
    }

    /// Leaves the key to a run whose process has died after this step, and whose lease has lapsed.
    pub(crate) async fn lose_a_run(&self) {
        let _ = value(self.call_with(KEY, async |_| Ok(0)).await);
        let seen = self.record().await.expect("a record");
        let forgotten = self.engine.resolve(&seen, Resolution::Forget).await;
        assert_eq!(forgotten.ok(), Some(IfOwner::Done(())));
        let hold = Hold::new(seen.id, Token::from_bytes([7; 16]), LEASE, TTL);
        let hold = hold.with_scope(self.engine.scope_id(&scope()));
        let request = ClaimRequest::new(&hold, &seen.fingerprint, OnLost::TakeOver);
        let claimed = self.store.inner.claim(request).await;
        assert!(matches!(claimed, Ok(Claim::Won { attempt: 1, .. })));
        let mut progress = Progress::default();
        progress.push(CHARGE, "0".into());
        let kept = self.store.inner.checkpoint(&hold, progress.write()).await;
        assert_eq!(kept.ok(), Some(IfOwner::Done(())));
        self.store.pass(LEASE);
    }

    /// The call of one more client, to another process.
    pub(crate) async fn retry(&self) -> Reply {
        let process = self.process(|builder| builder);
        let ledger = self.ledger.clone();
        let reply = call(process.clone(), OPTIONS, KEY, async move |_| {
            book(&ledger, KEY).await
        });
        let reply = reply.await;
        process.shutdown().await;
        reply
    }

    /// Stops the engine. No claim without a run may be left, and no task.
    pub(crate) async fn end(self) {
        self.engine.shutdown().await;
        let listed = self.store.inner.list(&ListRequest::new(100)).await;
        for listed in listed.expect("a memory") {
            let record = listed.record.expect("a readable record");
            if let Phase::InFlight { lease_until, .. } = record.phase {
                assert!(
                    lease_until <= self.store.clock.now(),
                    "a hold is left: {record:?}"
                );
            }
        }
        let Self { engine, .. } = self;
        drop(engine);
        execution::all_ended().await;
    }
}

pub(crate) async fn call<W>(
    engine: Idempotency,
    options: Options,
    name: &'static str,
    work: impl FnOnce(Execution) -> W + Send + 'static,
) -> Reply
where
    W: Future<Output = Result<u32, Failed>> + Send + 'static,
{
    let fingerprint = Fingerprint::of([name.as_bytes()]);
    engine
        .run_with(&options, &scope(), &key(name), fingerprint, work)
        .await
}

/// Work that must not be done twice, and that returns how often it was done.
pub(crate) async fn book(ledger: &Ledger, name: &'static str) -> Result<u32, Failed> {
    let begun = ledger.begin(name);
    yield_now().await;
    let number = begun.has_effect();
    yield_now().await;
    Ok(number)
}

pub(crate) fn scope() -> Scope {
    Scope::principal("ann")
}

pub(crate) fn key(name: &'static str) -> IdempotencyKey {
    IdempotencyKey::new(name).expect("a key")
}
