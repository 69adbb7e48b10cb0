//! A memory store that says what was done with it.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use idempotency::{
    Clock, Fingerprint, MemoryStore, Store, StoreError,
    store::{
        Claim, ClaimRequest, Hold, IfOwner, ListRequest, Listed, Record, RecordId, Resolution,
        Subscription, Token,
    },
};
use tokio::sync::watch;

#[derive(Debug)]
pub(crate) struct WatchedStore {
    inner: Mutex<MemoryStore>,
    clock: Clock,
    calls: Arc<Calls>,
}

/// How often each verb was called; of the sweep, how many records it has removed.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    pub(crate) claims: watch::Sender<usize>,
    /// The number of the claim whose answer is on its way until this is another number.
    pub(crate) held: watch::Sender<usize>,
    pub(crate) renewals: watch::Sender<usize>,
    /// The number of the renewal whose response is lost.
    pub(crate) lost_renewal: watch::Sender<usize>,
    /// How long the response to a renewal is on its way.
    pub(crate) renewals_take: watch::Sender<Duration>,
    pub(crate) purged: watch::Sender<usize>,
}

impl WatchedStore {
    pub(crate) fn new(clock: &Clock) -> (Arc<Self>, Arc<Calls>) {
        let calls = Arc::<Calls>::default();
        let store = Self {
            inner: Mutex::new(MemoryStore::new().with_clock(clock.clone())),
            clock: clock.clone(),
            calls: Arc::clone(&calls),
        };
        (Arc::new(store), calls)
    }

    /// Forgets everything, as a server does that takes over without what the one before it had not sent.
    pub(crate) fn fail_over(&self) {
        *self.inner.lock().expect("a lock") = MemoryStore::new().with_clock(self.clock.clone());
    }

    fn inner(&self) -> MemoryStore {
        self.inner.lock().expect("a lock").clone()
    }
}

/// Returns once the count is that high.
pub(crate) async fn reaches(count: &watch::Sender<usize>, many: usize) {
    let mut count = count.subscribe();
    count
        .wait_for(|count| *count >= many)
        .await
        .expect("an open channel");
}

#[async_trait]
impl Store for WatchedStore {
    fn name(&self) -> &'static str {
        self.inner().name()
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        let ClaimRequest {
            hold,
            fingerprint,
            on_lost,
            ..
        } = request;
        let claim = self
            .inner()
            .claim(ClaimRequest::new(hold, fingerprint, on_lost))
            .await;
        let mut number = 0;
        self.calls.claims.send_modify(|claims| {
            *claims += 1;
            number = *claims;
        });
        let mut held = self.calls.held.subscribe();
        held.wait_for(|held| *held != number)
            .await
            .expect("an open channel");
        claim
    }

    async fn withdraw(&self, hold: &Hold, fingerprint: &Fingerprint) -> Result<(), StoreError> {
        self.inner().withdraw(hold, fingerprint).await
    }

    async fn renew(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        let mut renewed = self.inner().renew(hold).await;
        let mut number = 0;
        self.calls.renewals.send_modify(|renewals| {
            *renewals += 1;
            number = *renewals;
        });
        if *self.calls.lost_renewal.borrow() == number {
            renewed = Err(StoreError::unavailable("the test cut the response off"));
        }
        let late = *self.calls.renewals_take.borrow();
        if !late.is_zero() {
            tokio::time::sleep(late).await;
        }
        renewed
    }

    async fn checkpoint(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        self.inner().checkpoint(hold, progress).await
    }

    async fn suspend(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        self.inner().suspend(hold, progress).await
    }

    async fn complete(
        &self,
        hold: &Hold,
        outcome: Bytes,
    ) -> Result<IfOwner<SystemTime>, StoreError> {
        self.inner().complete(hold, outcome).await
    }

    async fn release(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        self.inner().release(hold).await
    }

    async fn inspect(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        self.inner().inspect(id).await
    }

    async fn list(&self, request: &ListRequest) -> Result<Vec<Listed>, StoreError> {
        self.inner().list(request).await
    }

    async fn resolve(
        &self,
        id: &RecordId,
        seen: &Token,
        resolution: Resolution,
    ) -> Result<IfOwner<()>, StoreError> {
        self.inner().resolve(id, seen, resolution).await
    }

    async fn purge_expired(&self, limit: usize) -> Result<usize, StoreError> {
        let removed = self.inner().purge_expired(limit).await?;
        self.calls.purged.send_modify(|purged| *purged += removed);
        Ok(removed)
    }

    fn subscribe(&self, id: &RecordId) -> Subscription {
        self.inner().subscribe(id)
    }
    fn outcome_limit(&self) -> usize {
        self.inner().outcome_limit()
    }
}
