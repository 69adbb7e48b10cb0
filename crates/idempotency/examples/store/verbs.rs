//! The verbs of `Store`: each is one step of one key.

use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use idempotency::{
    Fingerprint, Store, StoreError,
    store::{
        Claim, ClaimRequest, Hold, IfOwner, ListRequest, Listed, Record, RecordId, Resolution,
        Subscription, Token,
    },
};

use crate::map::HashMapStore;

#[async_trait]
impl Store for HashMapStore {
    fn name(&self) -> &'static str {
        "hash-map"
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        self.step(&request.hold.id, |entry, now| entry.claim(request, now))
    }

    async fn withdraw(&self, hold: &Hold, _: &Fingerprint) -> Result<(), StoreError> {
        self.end(&hold.id, |entry, now| {
            entry.withdraw(hold, now);
            IfOwner::Done(())
        });
        Ok(())
    }

    async fn renew(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        Ok(self.step(&hold.id, |entry, now| entry.renew(hold, now)))
    }

    async fn checkpoint(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        Ok(self.step(&hold.id, |entry, _| entry.checkpoint(&hold.token, progress)))
    }

    async fn suspend(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        Ok(self.end(&hold.id, |entry, now| entry.suspend(hold, progress, now)))
    }

    async fn complete(
        &self,
        hold: &Hold,
        outcome: Bytes,
    ) -> Result<IfOwner<SystemTime>, StoreError> {
        Ok(self.end(&hold.id, |entry, now| entry.complete(hold, outcome, now)))
    }

    async fn release(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        Ok(self.end(&hold.id, |entry, now| entry.release(hold, now)))
    }

    async fn resolve(
        &self,
        id: &RecordId,
        seen: &Token,
        resolution: Resolution,
    ) -> Result<IfOwner<()>, StoreError> {
        Ok(self.end(id, |entry, now| entry.resolve(seen, resolution, now)))
    }

    async fn inspect(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        Ok(self.step(id, |entry, _| entry.shown()))
    }

    async fn list(&self, request: &ListRequest) -> Result<Vec<Listed>, StoreError> {
        Ok(self.listed(request))
    }

    async fn purge_expired(&self, limit: usize) -> Result<usize, StoreError> {
        Ok(self.purged(limit))
    }

    fn subscribe(&self, id: &RecordId) -> Subscription {
        self.waiter(id)
    }

    fn outcome_limit(&self) -> usize {
        usize::MAX
    }
}
