//! A wrapper that makes a working store fail when a test says so.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use async_trait::async_trait;
use bytes::Bytes;
use idempotency::{
    Fingerprint, Store,
    store::{Claim, ClaimRequest, Hold, IfOwner, StoreError},
};
use tests::{
    delegate::{Delegate, Hooks},
    wait::within_a_minute,
};
use tokio::sync::{Semaphore, watch};

/// The store of every server in these tests.
#[derive(Debug)]
pub(crate) struct FaultyStore {
    inner: Arc<dyn Store>,
    faults: StoreFaults,
}

/// The faults that a test gives a store, verb by verb.
#[derive(Clone, Debug, Default)]
pub(crate) struct StoreFaults {
    pub(crate) claim: Arc<VerbFaults>,
    pub(crate) withdraw: Arc<VerbFaults>,
    pub(crate) renew: Arc<VerbFaults>,
    pub(crate) checkpoint: Arc<VerbFaults>,
    pub(crate) suspend: Arc<VerbFaults>,
    pub(crate) complete: Arc<VerbFaults>,
    pub(crate) release: Arc<VerbFaults>,
    pub(crate) purge: Arc<VerbFaults>,
    successor: Arc<OnceLock<Arc<dyn Store>>>,
}

/// How one verb misbehaves.
#[derive(Debug)]
pub(crate) struct VerbFaults {
    calls: watch::Sender<usize>,
    not_sent: AtomicUsize,
    not_heard: AtomicUsize,
    gate: Semaphore,
    at_gate: Semaphore,
    gated: AtomicUsize,
    late: AtomicUsize,
    deliver: Semaphore,
    delivered: Semaphore,
}

impl Default for VerbFaults {
    fn default() -> Self {
        Self {
            calls: watch::Sender::new(0),
            not_sent: AtomicUsize::new(0),
            not_heard: AtomicUsize::new(0),
            gate: Semaphore::new(0),
            at_gate: Semaphore::new(0),
            gated: AtomicUsize::new(0),
            late: AtomicUsize::new(0),
            deliver: Semaphore::new(0),
            delivered: Semaphore::new(0),
        }
    }
}

impl VerbFaults {
    /// The next calls never reach the store.
    pub(crate) fn lose_requests(&self, calls: usize) {
        self.not_sent.store(calls, Ordering::SeqCst);
    }

    /// The next calls are carried out, but their replies are lost.
    pub(crate) fn lose_replies(&self, calls: usize) {
        self.not_heard.store(calls, Ordering::SeqCst);
    }

    /// The next calls are carried out, and then stop before they return, until [`open`](Self::open).
    pub(crate) fn stop_replies(&self, calls: usize) {
        self.gated.store(calls, Ordering::SeqCst);
    }

    /// The next calls fail, and reach the store when they are [delivered](Self::deliver).
    pub(crate) fn send_late(&self, calls: usize) {
        self.late.store(calls, Ordering::SeqCst);
    }

    /// Delivers one delayed call to the store, and returns once it has been carried out.
    pub(crate) async fn deliver(&self) {
        self.deliver.add_permits(1);
        let delivered = within_a_minute("a call that is delivered", self.delivered.acquire()).await;
        delivered.expect("an open semaphore").forget();
    }

    /// Returns once a call has stopped.
    pub(crate) async fn stopped(&self) {
        let stopped = within_a_minute("a call that stops", self.at_gate.acquire()).await;
        stopped.expect("an open semaphore").forget();
    }

    /// Lets one stopped call return.
    pub(crate) fn open(&self) {
        self.gate.add_permits(1);
    }

    /// How many calls the store has carried out, or lost.
    pub(crate) fn calls(&self) -> usize {
        *self.calls.borrow()
    }

    /// Returns once there were that many calls.
    pub(crate) async fn called(&self, calls: usize) {
        let mut seen = self.calls.subscribe();
        let enough = seen.wait_for(|seen| *seen >= calls);
        within_a_minute("enough calls", enough)
            .await
            .expect("an open channel");
    }

    /// Makes this call fail, and reach the store once it is delivered.
    fn send_later(self: &Arc<Self>, call: impl Future + Send + 'static) -> StoreError {
        self.calls.send_modify(|calls| *calls += 1);
        let faults = Arc::clone(self);
        tokio::spawn(async move {
            let delivery = faults.deliver.acquire().await;
            delivery.expect("an open semaphore").forget();
            call.await;
            faults.delivered.add_permits(1);
        });
        StoreError::unavailable("the test delays the request")
    }

    async fn apply<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let lost = take_one(&self.not_sent);
        let response = if lost {
            Err(StoreError::unavailable("the test cut the request off"))
        } else {
            call.await
        };
        self.calls.send_modify(|calls| *calls += 1);
        if take_one(&self.gated) {
            self.at_gate.add_permits(1);
            self.gate
                .acquire()
                .await
                .expect("an open semaphore")
                .forget();
        }
        if take_one(&self.not_heard) {
            return Err(StoreError::unavailable("the test cut the reply off"));
        }
        response
    }
}

fn take_one(counter: &AtomicUsize) -> bool {
    counter
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            left.checked_sub(1)
        })
        .is_ok()
}

impl FaultyStore {
    pub(crate) fn new(inner: Arc<dyn Store>) -> (Delegate<Self>, StoreFaults) {
        let faults = StoreFaults::default();
        (
            Delegate(Self {
                inner,
                faults: faults.clone(),
            }),
            faults,
        )
    }

    fn inner(&self) -> &Arc<dyn Store> {
        self.faults.successor.get().unwrap_or(&self.inner)
    }
}

impl StoreFaults {
    /// Replaces the store by another, which may lack the records of the first.
    pub(crate) fn fail_over(&self, successor: impl Store) {
        let first = self.successor.set(Arc::new(successor));
        first.expect("one that takes over");
    }
}

#[async_trait]
impl Hooks for FaultyStore {
    fn store(&self) -> &dyn Store {
        self.inner()
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        let ClaimRequest {
            hold,
            fingerprint,
            on_lost,
            ..
        } = request;
        let faults = &self.faults.claim;
        if !take_one(&faults.late) {
            return faults
                .apply(
                    self.inner()
                        .claim(ClaimRequest::new(hold, fingerprint, on_lost)),
                )
                .await;
        }
        let (inner, hold, fingerprint) = (Arc::clone(self.inner()), hold.clone(), *fingerprint);
        Err(faults.send_later(async move {
            drop(
                inner
                    .claim(ClaimRequest::new(&hold, &fingerprint, on_lost))
                    .await,
            );
        }))
    }

    async fn withdraw(&self, hold: &Hold, fingerprint: &Fingerprint) -> Result<(), StoreError> {
        self.faults
            .withdraw
            .apply(self.inner().withdraw(hold, fingerprint))
            .await
    }

    async fn renew(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        let faults = &self.faults.renew;
        if !take_one(&faults.late) {
            return faults.apply(self.inner().renew(hold)).await;
        }
        let (inner, hold) = (Arc::clone(self.inner()), hold.clone());
        Err(faults.send_later(async move { drop(inner.renew(&hold).await) }))
    }

    async fn checkpoint(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        let faults = &self.faults.checkpoint;
        if !take_one(&faults.late) {
            return faults.apply(self.inner().checkpoint(hold, progress)).await;
        }
        let (inner, hold) = (Arc::clone(self.inner()), hold.clone());
        Err(faults.send_later(async move { drop(inner.checkpoint(&hold, progress).await) }))
    }

    async fn suspend(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        self.faults
            .suspend
            .apply(self.inner().suspend(hold, progress))
            .await
    }

    async fn complete(
        &self,
        hold: &Hold,
        outcome: Bytes,
    ) -> Result<IfOwner<SystemTime>, StoreError> {
        self.faults
            .complete
            .apply(self.inner().complete(hold, outcome))
            .await
    }

    async fn release(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        self.faults.release.apply(self.inner().release(hold)).await
    }

    async fn purge_expired(&self, limit: usize) -> Result<usize, StoreError> {
        self.faults
            .purge
            .apply(self.inner().purge_expired(limit))
            .await
    }
}
