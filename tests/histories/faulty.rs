//! Stores with a mistake, which the histories have to find.

use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use idempotency::{
    MemoryStore, Store,
    store::{Claim, ClaimRequest, Hold, IfOwner, Phase, Record, RecordId, Resolution, StoreError},
};
use tests::delegate::Hooks;
use tokio::task::yield_now;

/// Completes whatever hold there is, whose ever it is.
#[derive(Debug)]
pub(crate) struct CompletesForAnyone(pub(crate) MemoryStore);

/// Reads whether the key is free, and then takes it.
#[derive(Debug)]
pub(crate) struct ReadsThenClaims(pub(crate) MemoryStore);

async fn owner(store: &MemoryStore, id: &RecordId) -> Result<Option<Record>, StoreError> {
    let record = store.inspect(id).await?;
    Ok(record.filter(|record| matches!(record.phase, Phase::InFlight { .. })))
}

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
        match owner(&self.0, &hold.id).await? {
            Some(record) => {
                let hold = hold.clone().with_token(record.token);
                self.0.complete(&hold, outcome).await
            }
            None => self.0.complete(hold, outcome).await,
        }
    }
}

#[async_trait]
impl Hooks for ReadsThenClaims {
    fn store(&self) -> &dyn Store {
        &self.0
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        let id = &request.hold.id;
        if self.0.inspect(id).await?.is_none() {
            yield_now().await;
            // A write without a condition.
            if let Some(other) = owner(&self.0, id).await? {
                self.0
                    .resolve(id, &other.token, Resolution::Release)
                    .await?;
            }
        }
        self.0.claim(request).await
    }
}
