//! A store with a mistake that only concurrent histories find.

use async_trait::async_trait;
use idempotency::{
    MemoryStore, Store,
    store::{Claim, ClaimRequest, Phase, Record, RecordId, Resolution, StoreError},
};
use tests::delegate::Hooks;
use tokio::task::yield_now;

/// Reads whether the key is free, and then takes it.
#[derive(Debug)]
pub(crate) struct ReadsThenClaims(pub(crate) MemoryStore);

async fn owner(store: &MemoryStore, id: &RecordId) -> Result<Option<Record>, StoreError> {
    let record = store.inspect(id).await?;
    Ok(record.filter(|record| matches!(record.phase, Phase::InFlight { .. })))
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
