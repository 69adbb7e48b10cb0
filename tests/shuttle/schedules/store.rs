//! The memory store, at the speed of memory or of a server.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use idempotency::{
    Clock, Fingerprint, MemoryStore, Store,
    store::{
        Claim, ClaimRequest, Hold, IfOwner, ListRequest, Listed, Record, RecordId, Resolution,
        ScopeId, StoreError, Subscription, Token,
    },
};
use tokio::{execution, task::yield_now};

/// How long a call of the store takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speed {
    /// No call waits.
    Immediate,
    /// Each call waits for its way there and for its way back, and others go on meanwhile.
    Slow,
}

/// A call whose reply is lost once, after the store has done what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    Claim,
    Checkpoint,
    Complete,
    Suspend,
    Release,
}

#[derive(Clone, Debug)]
pub(crate) struct TestStore {
    pub(crate) inner: MemoryStore,
    pub(crate) clock: Clock,
    speed: Speed,
    /// Whether the reply to the next claim comes later than its lease.
    pub(crate) is_late: Arc<AtomicBool>,
    loses: Arc<Mutex<Option<Lost>>>,
}

impl Speed {
    pub(crate) const ALL: [Self; 2] = [Self::Immediate, Self::Slow];
}

impl TestStore {
    pub(crate) fn new(speed: Speed) -> Self {
        let clock = Clock::manual();
        Self {
            inner: MemoryStore::new().with_clock(clock.clone()),
            clock,
            speed,
            is_late: Arc::default(),
            loses: Arc::default(),
        }
    }

    pub(crate) fn lose(&self, reply: Lost) {
        *self.loses.lock().expect("no panic under the lock") = Some(reply);
    }

    fn unless_lost<T>(&self, call: Lost, reply: Result<T, StoreError>) -> Result<T, StoreError> {
        let mut loses = self.loses.lock().expect("no panic under the lock");
        match loses.take_if(|lost| *lost == call) {
            Some(_) => Err(StoreError::unavailable("the reply is lost")),
            None => reply,
        }
    }

    /// Moves the store's time and the engine's, in one step.
    pub(crate) fn pass(&self, time: Duration) {
        self.clock.advance(time);
        execution::advance(time);
    }

    async fn call<T>(&self, call: impl Future<Output = T>) -> T {
        self.travel().await;
        let reply = call.await;
        self.travel().await;
        reply
    }

    async fn travel(&self) {
        if self.speed == Speed::Slow {
            yield_now().await;
        }
    }

    fn delay(&self, lease: Duration) {
        if self.is_late.swap(false, Ordering::Relaxed) {
            self.pass(lease + Duration::from_millis(500));
        }
    }
}

#[async_trait]
impl Store for TestStore {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn check_room(&self, scope: &ScopeId) -> Result<(), StoreError> {
        self.inner.check_room(scope)
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        let lease = request.hold.lease;
        let claimed = self.call(self.inner.claim(request)).await;
        self.delay(lease);
        self.unless_lost(Lost::Claim, claimed)
    }

    fn claim_now(&self, request: ClaimRequest<'_>) -> Option<Result<Claim, StoreError>> {
        if self.speed == Speed::Slow {
            return None;
        }
        let lease = request.hold.lease;
        let claimed = self.inner.claim_now(request);
        self.delay(lease);
        claimed.map(|claimed| self.unless_lost(Lost::Claim, claimed))
    }

    async fn withdraw(&self, hold: &Hold, fingerprint: &Fingerprint) -> Result<(), StoreError> {
        self.call(self.inner.withdraw(hold, fingerprint)).await
    }

    async fn renew(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        self.call(self.inner.renew(hold)).await
    }

    async fn checkpoint(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        let kept = self.call(self.inner.checkpoint(hold, progress)).await;
        self.unless_lost(Lost::Checkpoint, kept)
    }

    async fn suspend(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        let suspended = self.call(self.inner.suspend(hold, progress)).await;
        self.unless_lost(Lost::Suspend, suspended)
    }

    async fn complete(
        &self,
        hold: &Hold,
        outcome: Bytes,
    ) -> Result<IfOwner<SystemTime>, StoreError> {
        let completed = self.call(self.inner.complete(hold, outcome)).await;
        self.unless_lost(Lost::Complete, completed)
    }

    fn complete_now(
        &self,
        hold: &Hold,
        outcome: &Bytes,
    ) -> Option<Result<IfOwner<SystemTime>, StoreError>> {
        let completed = match self.speed {
            Speed::Immediate => self.inner.complete_now(hold, outcome),
            Speed::Slow => None,
        };
        completed.map(|completed| self.unless_lost(Lost::Complete, completed))
    }

    async fn release(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        let released = self.call(self.inner.release(hold)).await;
        self.unless_lost(Lost::Release, released)
    }

    async fn inspect(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        self.call(self.inner.inspect(id)).await
    }

    async fn list(&self, request: &ListRequest) -> Result<Vec<Listed>, StoreError> {
        self.call(self.inner.list(request)).await
    }

    async fn resolve(
        &self,
        id: &RecordId,
        seen: &Token,
        resolution: Resolution,
    ) -> Result<IfOwner<()>, StoreError> {
        self.call(self.inner.resolve(id, seen, resolution)).await
    }

    async fn purge_expired(&self, limit: usize) -> Result<usize, StoreError> {
        self.call(self.inner.purge_expired(limit)).await
    }

    async fn live_records(&self) -> Result<Option<u64>, StoreError> {
        self.inner.live_records().await
    }

    fn subscribe(&self, id: &RecordId) -> Subscription {
        self.inner.subscribe(id)
    }

    fn outcome_limit(&self) -> usize {
        self.inner.outcome_limit()
    }
}
