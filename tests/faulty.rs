//! A store with a mistake, which more than one kind of test has to find.

use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use idempotency::{
    MemoryStore, Store,
    store::{Hold, IfOwner, Phase, StoreError},
};

use crate::delegate::Hooks;

/// Completes whatever hold there is, whose ever it is.
#[derive(Debug)]
pub struct CompletesForAnyone(pub MemoryStore);

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
