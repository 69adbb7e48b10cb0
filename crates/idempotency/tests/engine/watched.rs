//! A memory store that counts its calls.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use idempotency::{
    Clock, MemoryStore, Store,
    store::{Claim, ClaimRequest, Hold, IfOwner, StoreError},
};
use tokio::sync::watch;

use crate::delegate::{Delegate, Hooks};

pub(crate) type WatchedStore = Delegate<Watched>;

#[derive(Debug)]
pub(crate) struct Watched {
    first: MemoryStore,
    /// The records of the server that took over.
    successor: OnceLock<MemoryStore>,
    clock: Clock,
    calls: Arc<Calls>,
}

/// How often each verb was called; of the sweep, how many records it has removed.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    pub(crate) claims: watch::Sender<usize>,
    /// The number of the claim whose reply is held back until this number changes.
    pub(crate) held: watch::Sender<usize>,
    pub(crate) renewals: watch::Sender<usize>,
    /// The number of the renewal whose reply is lost.
    pub(crate) lost_renewal: watch::Sender<usize>,
    /// How long the reply to a renewal takes.
    pub(crate) renewals_take: watch::Sender<Duration>,
    pub(crate) purged: watch::Sender<usize>,
}

impl WatchedStore {
    pub(crate) fn new(clock: &Clock) -> (Arc<Self>, Arc<Calls>) {
        let calls = Arc::<Calls>::default();
        let watched = Watched {
            first: MemoryStore::new().with_clock(clock.clone()),
            successor: OnceLock::new(),
            clock: clock.clone(),
            calls: Arc::clone(&calls),
        };
        (Arc::new(Self(watched)), calls)
    }

    /// Loses all records, as at a failover to a server that had not received them.
    pub(crate) fn fail_over(&self) {
        let successor = MemoryStore::new().with_clock(self.clock.clone());
        self.successor.set(successor).expect("one fail-over");
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
impl Hooks for Watched {
    fn store(&self) -> &dyn Store {
        self.successor.get().unwrap_or(&self.first)
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        let ClaimRequest {
            hold,
            fingerprint,
            on_lost,
            ..
        } = request;
        let claim = self
            .store()
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

    async fn renew(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        let mut renewed = self.store().renew(hold).await;
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

    async fn purge_expired(&self, limit: usize) -> Result<usize, StoreError> {
        let removed = self.store().purge_expired(limit).await?;
        self.calls.purged.send_modify(|purged| *purged += removed);
        Ok(removed)
    }
}
