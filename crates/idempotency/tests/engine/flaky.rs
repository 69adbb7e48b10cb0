//! A memory store that is down when a test says so.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use async_trait::async_trait;
use bytes::Bytes;
use idempotency::{
    Claim, Clock, Fenced, Fingerprint, Hold, MemoryStore, OnLost, Record, RecordId, Resolution,
    Store, StoreError, Subscription, Token,
};

/// A memory store that is down when a test says so.
#[derive(Debug)]
pub(crate) struct FlakyStore {
    pub(crate) inner: MemoryStore,
    pub(crate) down: AtomicBool,
    /// Claims that arrive although their reply is lost, after which the store is down.
    pub(crate) dies_behind_claim: AtomicBool,
    pub(crate) panics: AtomicBool,
}

impl FlakyStore {
    pub(crate) fn new(clock: &Clock) -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryStore::new().with_clock(clock.clone()),
            down: AtomicBool::new(false),
            dies_behind_claim: AtomicBool::new(false),
            panics: AtomicBool::new(false),
        })
    }

    fn check(&self) -> Result<(), StoreError> {
        match self.down.load(Ordering::SeqCst) {
            true => Err(StoreError::unavailable("down")),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Store for FlakyStore {
    async fn claim(&self, hold: &Hold, f: &Fingerprint, o: OnLost) -> Result<Claim, StoreError> {
        self.check()?;
        let claim = self.inner.claim(hold, f, o).await;
        if self.panics.swap(false, Ordering::SeqCst) {
            tokio::task::yield_now().await;
            panic!("a bug of the store's");
        }
        if self.dies_behind_claim.swap(false, Ordering::SeqCst) {
            self.down.store(true, Ordering::SeqCst);
            return Err(StoreError::unavailable("down"));
        }
        claim
    }

    async fn withdraw(&self, hold: &Hold, f: &Fingerprint, o: OnLost) -> Result<(), StoreError> {
        self.check()?;
        self.inner.withdraw(hold, f, o).await
    }

    async fn renew(&self, hold: &Hold) -> Result<Fenced<()>, StoreError> {
        self.check()?;
        self.inner.renew(hold).await
    }

    async fn checkpoint(&self, hold: &Hold, p: Bytes) -> Result<Fenced<()>, StoreError> {
        self.check()?;
        self.inner.checkpoint(hold, p).await
    }

    async fn suspend(&self, hold: &Hold, p: Bytes) -> Result<Fenced<()>, StoreError> {
        self.check()?;
        self.inner.suspend(hold, p).await
    }

    async fn complete(&self, hold: &Hold, o: Bytes) -> Result<Fenced<SystemTime>, StoreError> {
        self.check()?;
        self.inner.complete(hold, o).await
    }

    async fn release(&self, hold: &Hold) -> Result<Fenced<()>, StoreError> {
        self.check()?;
        self.inner.release(hold).await
    }

    async fn inspect(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        self.check()?;
        self.inner.inspect(id).await
    }

    async fn list(&self, a: Option<&RecordId>, l: usize) -> Result<Vec<Record>, StoreError> {
        self.inner.list(a, l).await
    }

    async fn resolve(
        &self,
        id: &RecordId,
        s: &Token,
        r: Resolution,
    ) -> Result<Fenced<()>, StoreError> {
        self.inner.resolve(id, s, r).await
    }

    async fn purge_expired(&self, limit: usize) -> Result<usize, StoreError> {
        self.inner.purge_expired(limit).await
    }

    fn subscribe(&self, id: &RecordId) -> Subscription {
        self.inner.subscribe(id)
    }

    fn outcome_limit(&self) -> usize {
        self.inner.outcome_limit()
    }
}
