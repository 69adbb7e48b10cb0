//! A store with a limit, and at most one fault.

use std::{
    collections::VecDeque,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use idempotency::{
    Clock, Fingerprint, MemoryStore, Store,
    conformance::{TestStore, shares::LIMIT_BYTES},
    store::{
        Claim, ClaimRequest, Hold, IfOwner, OnLost, RecordId, Resolution, ScopeId, StoreError,
        StoreErrorKind, Token,
    },
};
use parking_lot::Mutex;

use super::fault::Fault;
use crate::delegate::{Delegate, Hooks};

#[derive(Debug)]
pub(super) struct Limited {
    inner: MemoryStore,
    fault: Option<Fault>,
    /// The keys that a fault may forget, the oldest first.
    taken: Mutex<VecDeque<Hold>>,
}

impl Limited {
    pub(super) fn open(fault: Option<Fault>) -> TestStore {
        let clock = Clock::manual();
        let limit = match fault {
            Some(Fault::TakesEveryKey) => usize::MAX,
            _ => LIMIT_BYTES,
        };
        let store = MemoryStore::new().with_limit_bytes(limit);
        let store = Delegate(Self {
            inner: store.with_clock(clock.clone()),
            fault,
            taken: Mutex::default(),
        });
        TestStore::new(store, move |time| clock.advance(time))
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn refusal(&self, error: StoreError) -> StoreError {
        match (self.fault, error.kind()) {
            (Some(Fault::CallsAFullScopeAFullStore), StoreErrorKind::ScopeFull) => {
                StoreError::full("no room")
            }
            (Some(Fault::CallsAFullStoreAFullScope), StoreErrorKind::Full) => {
                StoreError::scope_full("no room")
            }
            _ => error,
        }
    }

    /// Takes the room of a released key for another one.
    async fn take_instead(&self, released: &Hold) -> Result<(), StoreError> {
        let mut id = *released.id.as_bytes();
        id[..16].copy_from_slice(Token::random().as_bytes());
        let mut hold = released.clone().with_token(Token::random());
        hold.id = RecordId::from_bytes(id);
        hold.lease = Duration::from_secs(86_400);
        let asked = Fingerprint::of([b"nothing".as_slice()]);
        let claim = ClaimRequest::new(&hold, &asked, OnLost::TakeOver);
        self.inner.claim(claim).await.map(drop)
    }
}

#[async_trait]
impl Hooks for Limited {
    fn store(&self) -> &dyn Store {
        &self.inner
    }

    fn check_room(&self, scope: &ScopeId) -> Result<(), StoreError> {
        match self.fault {
            Some(Fault::ReportsRoomForEveryKey) => Ok(()),
            _ => (self.inner.check_room(scope)).map_err(|error| self.refusal(error)),
        }
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        let mut hold = request.hold.clone();
        if self.has(Fault::LetsAScopeFillTheStore) {
            let [token @ .., _, _, _, _, _, _, _, _] = hold.token.as_bytes();
            hold.scope = ScopeId::from_bytes(*token);
        }
        let request = ClaimRequest::new(&hold, request.fingerprint, request.on_lost);
        loop {
            let claimed = self.inner.claim(request).await;
            let Err(error) = claimed else {
                self.taken.lock().push_back(hold);
                return claimed;
            };
            let oldest = match self.fault {
                Some(Fault::ForgetsOldKeysWhenFull) => self.taken.lock().pop_front(),
                _ => None,
            };
            let Some(oldest) = oldest else {
                if self.has(Fault::SpendsTheTokenOfARefusedClaim) {
                    self.inner.withdraw(&hold, request.fingerprint).await?;
                }
                return Err(self.refusal(error));
            };
            for resolution in [Resolution::Release, Resolution::Forget] {
                let forgotten = self.inner.resolve(&oldest.id, &oldest.token, resolution);
                forgotten.await?;
            }
        }
    }

    async fn checkpoint(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        let progress = match self.fault {
            Some(Fault::CountsNoOutcomes) => Bytes::new(),
            _ => progress,
        };
        self.inner.checkpoint(hold, progress).await
    }

    async fn complete(&self, hold: &Hold, o: Bytes) -> Result<IfOwner<SystemTime>, StoreError> {
        let outcome = match self.fault {
            // It stores them where they do not count, and no function of this part reads them.
            Some(Fault::CountsNoOutcomes) => Bytes::new(),
            Some(Fault::RefusesCompletionsWhenFull) => {
                self.inner.check_room(&hold.scope)?;
                o
            }
            _ => o,
        };
        self.inner.complete(hold, outcome).await
    }

    async fn release(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        let released = self.inner.release(hold).await?;
        if self.has(Fault::KeepsTheRoomOfFreedKeys) {
            self.take_instead(hold).await?;
        }
        Ok(released)
    }

    async fn purge_expired(&self, limit: usize) -> Result<usize, StoreError> {
        match self.fault {
            Some(Fault::NeverSweeps) => Ok(0),
            _ => self.inner.purge_expired(limit).await,
        }
    }
}
