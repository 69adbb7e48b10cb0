//! A store that is down when a test says so.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use idempotency::{
    Clock, Fingerprint, MemoryStore, Store,
    store::{Claim, ClaimRequest, Hold, IfOwner, Record, RecordId, StoreError},
};
use parking_lot::Mutex;

use crate::delegate::{Delegate, Hooks};

pub(crate) type FlakyStore<S = MemoryStore> = Delegate<Flaky<S>>;

/// A store that is down when a test says so.
#[derive(Debug)]
pub(crate) struct Flaky<S> {
    pub(crate) inner: S,
    pub(crate) down: AtomicBool,
    /// Claims that arrive although their reply is lost, after which the store is down.
    pub(crate) dies_behind_claim: AtomicBool,
    pub(crate) panics: AtomicBool,
    /// Its reads fail.
    pub(crate) blind: AtomicBool,
    /// It is down in such a way that calls are not even sent.
    pub(crate) unreached: AtomicBool,
    /// The number of the first completion whose reply is lost, as are those of all later ones; zero for none.
    pub(crate) silent_from: AtomicUsize,
    pub(crate) completions: AtomicUsize,
    pub(crate) withdrawals: Withdrawals,
    /// The record of which no claim can be withdrawn, because it cannot be read.
    pub(crate) unreadable: Mutex<Option<RecordId>>,
    /// So many withdrawals are not even sent.
    pub(crate) unsent_withdrawals: AtomicUsize,
    /// The longest outcome that it stores.
    pub(crate) limit: AtomicUsize,
}

/// How often the store was asked to withdraw a claim.
#[derive(Debug, Default)]
pub(crate) struct Withdrawals {
    pub(crate) asked: AtomicUsize,
    pub(crate) done: AtomicUsize,
    at_once: AtomicUsize,
    pub(crate) most_at_once: AtomicUsize,
}

impl FlakyStore {
    pub(crate) fn new(clock: &Clock) -> Arc<Self> {
        Self::over(MemoryStore::new().with_clock(clock.clone()))
    }
}

impl<S: Store> FlakyStore<S> {
    pub(crate) fn over(inner: S) -> Arc<Self> {
        Arc::new(Self(Flaky {
            limit: AtomicUsize::new(inner.outcome_limit()),
            inner,
            down: AtomicBool::new(false),
            dies_behind_claim: AtomicBool::new(false),
            panics: AtomicBool::new(false),
            blind: AtomicBool::new(false),
            unreached: AtomicBool::new(false),
            silent_from: AtomicUsize::new(0),
            completions: AtomicUsize::new(0),
            withdrawals: Withdrawals::default(),
            unreadable: Mutex::default(),
            unsent_withdrawals: AtomicUsize::new(0),
        }))
    }
}

impl<S> Flaky<S> {
    fn check(&self) -> Result<(), StoreError> {
        if self.unreached.load(Ordering::SeqCst) {
            return Err(StoreError::unreached("not connected"));
        }
        if self.down.load(Ordering::SeqCst) {
            Err(StoreError::unavailable("down"))
        } else {
            Ok(())
        }
    }
}

#[async_trait]
impl<S: Store> Hooks for Flaky<S> {
    fn store(&self) -> &dyn Store {
        &self.inner
    }

    fn wrapped(&self) -> Option<&dyn Store> {
        Some(&self.inner)
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        self.check()?;
        let claim = self.inner.claim(request).await;
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

    async fn withdraw(&self, hold: &Hold, f: &Fingerprint) -> Result<(), StoreError> {
        let Withdrawals {
            asked,
            done,
            at_once,
            most_at_once,
        } = &self.withdrawals;
        asked.fetch_add(1, Ordering::SeqCst);
        let now = at_once.fetch_add(1, Ordering::SeqCst) + 1;
        most_at_once.fetch_max(now, Ordering::SeqCst);
        // Long enough for all calls to arrive that would arrive at once.
        tokio::time::sleep(Duration::from_millis(1)).await;
        at_once.fetch_sub(1, Ordering::SeqCst);
        self.check()?;
        if *self.unreadable.lock() == Some(hold.id) {
            return Err(StoreError::unreadable("damaged"));
        }
        let unsent = &self.unsent_withdrawals;
        let less = |left: usize| left.checked_sub(1);
        if unsent
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
            .is_ok()
        {
            return Err(StoreError::unreached("not connected"));
        }
        self.inner.withdraw(hold, f).await?;
        done.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn renew(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        self.check()?;
        self.inner.renew(hold).await
    }

    async fn checkpoint(&self, hold: &Hold, p: Bytes) -> Result<IfOwner<()>, StoreError> {
        self.check()?;
        self.inner.checkpoint(hold, p).await
    }

    async fn suspend(&self, hold: &Hold, p: Bytes) -> Result<IfOwner<()>, StoreError> {
        self.check()?;
        self.inner.suspend(hold, p).await
    }

    async fn complete(&self, hold: &Hold, o: Bytes) -> Result<IfOwner<SystemTime>, StoreError> {
        self.check()?;
        let number = self.completions.fetch_add(1, Ordering::SeqCst) + 1;
        match self.silent_from.load(Ordering::SeqCst) {
            0 => self.inner.complete(hold, o).await,
            silent_from if number >= silent_from => std::future::pending().await,
            _ => Err(StoreError::unavailable("it fails before it is silent")),
        }
    }

    async fn release(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        self.check()?;
        self.inner.release(hold).await
    }

    async fn inspect(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        self.check()?;
        if self.blind.load(Ordering::SeqCst) {
            return Err(StoreError::unavailable("blind"));
        }
        self.inner.inspect(id).await
    }

    fn outcome_limit(&self) -> usize {
        self.limit.load(Ordering::SeqCst)
    }
}
