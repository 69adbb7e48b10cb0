//! Stores with a mistake, which the simulations have to find.

use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use idempotency::{
    MemoryStore, Store,
    store::{Claim, ClaimRequest, Hold, IfOwner, Phase, StoreError},
};
use tests::delegate::Hooks;

/// Completes whatever hold there is, whose ever it is.
#[derive(Debug)]
pub(crate) struct CompletesForAnyone(pub(crate) MemoryStore);

/// Gives each hold a third of its lease.
#[derive(Debug)]
pub(crate) struct ShortLeases(pub(crate) MemoryStore);

#[async_trait]
impl Hooks for CompletesForAnyone {
    fn store(&self) -> &dyn Store {
        &self.0
    }

    async fn complete(
        &self,
        hold: &Hold,
        outcome: Bytes,
    ) -> Result<IfOwner<SystemTime>, StoreError> {
        let owner = self.0.inspect(&hold.id).await?;
        let owner = owner.filter(|record| matches!(record.phase, Phase::InFlight { .. }));
        let token = owner.map_or(hold.token, |record| record.token);
        self.0
            .complete(&hold.clone().with_token(token), outcome)
            .await
    }
}

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
