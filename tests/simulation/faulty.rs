//! A store with a mistake that the simulations have to find.

use async_trait::async_trait;
use idempotency::{
    MemoryStore, Store,
    store::{Claim, ClaimRequest, StoreError},
};
use tests::delegate::Hooks;

/// Gives each hold a third of its lease.
#[derive(Debug)]
pub(crate) struct ShortLeases(pub(crate) MemoryStore);

#[async_trait]
impl Hooks for ShortLeases {
    fn store(&self) -> &dyn Store {
        &self.0
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        let hold = request.hold.clone().with_lease(request.hold.lease / 3);
        let request = ClaimRequest::new(&hold, request.fingerprint, request.on_lost);
        self.0.claim(request).await
    }
}
