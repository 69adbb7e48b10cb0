use std::{future::ready, sync::Arc, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Interruption, points::Points};
use crate::{
    Fingerprint,
    store::{
        Claim, ClaimRequest, Hold, IfOwner, ListRequest, Listed, Record, RecordId, Resolution,
        ScopeId, Store, StoreError, Subscription, Token, Verification,
    },
};

/// The store of one process in a trial: a request can be interrupted before and after each of its calls.
///
/// A [`Trial`](super::Trial) makes it. Build the engine with it.
#[derive(Clone, Debug)]
pub struct TrialStore {
    store: Arc<dyn Store>,
    points: Arc<Points>,
}

impl TrialStore {
    pub(super) fn new(store: Arc<dyn Store>, points: Arc<Points>) -> Self {
        Self { store, points }
    }

    /// One call, with a point before it and a point after it.
    async fn call<T>(
        &self,
        name: &'static str,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.pause(format!("before {name}")).await;
        let failure = self.points.call(name);
        if failure == Some(Interruption::StoreUnreached) {
            return Err(StoreError::unreached(
                "the trial has made the store unreachable",
            ));
        }
        let result = call.await;
        if failure == Some(Interruption::ReplyLost) {
            return Err(StoreError::unavailable(
                "the trial has lost the store's reply",
            ));
        }
        self.pause(format!("after {name}")).await;
        result
    }

    /// Lets the caller be interrupted here: it waits for a task, which does not run before the caller has been polled to its end.
    async fn pause(&self, point: String) {
        self.points.reach(point);
        let _ = tokio::spawn(ready(())).await;
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for TrialStore {
    fn name(&self) -> &'static str {
        self.store.name()
    }

    fn wrapped(&self) -> Option<&dyn Store> {
        Some(&self.store)
    }

    fn encode_outcome(&self, _: &RecordId, outcome: Bytes) -> Result<Bytes, StoreError> {
        Ok(outcome)
    }

    fn check_room(&self, scope: &ScopeId) -> Result<(), StoreError> {
        self.store.check_room(scope)
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        self.call("claim", self.store.claim(request)).await
    }

    /// A call that does not wait could not be interrupted.
    fn claim_now(&self, _: ClaimRequest<'_>) -> Option<Result<Claim, StoreError>> {
        None
    }

    async fn withdraw(&self, hold: &Hold, fingerprint: &Fingerprint) -> Result<(), StoreError> {
        let call = self.store.withdraw(hold, fingerprint);
        self.call("withdraw", call).await
    }

    async fn renew(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        self.call("renew", self.store.renew(hold)).await
    }

    async fn checkpoint(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        let call = self.store.checkpoint(hold, progress);
        self.call("checkpoint", call).await
    }

    async fn suspend(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        let call = self.store.suspend(hold, progress);
        self.call("suspend", call).await
    }

    async fn complete(
        &self,
        hold: &Hold,
        outcome: Bytes,
    ) -> Result<IfOwner<SystemTime>, StoreError> {
        let call = self.store.complete(hold, outcome);
        self.call("complete", call).await
    }

    fn complete_now(&self, _: &Hold, _: &Bytes) -> Option<Result<IfOwner<SystemTime>, StoreError>> {
        None
    }

    async fn release(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        self.call("release", self.store.release(hold)).await
    }

    async fn inspect(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        self.call("inspect", self.store.inspect(id)).await
    }

    async fn list(&self, request: &ListRequest) -> Result<Vec<Listed>, StoreError> {
        self.store.list(request).await
    }

    async fn resolve(
        &self,
        id: &RecordId,
        seen: &Token,
        resolution: Resolution,
    ) -> Result<IfOwner<()>, StoreError> {
        let call = self.store.resolve(id, seen, resolution);
        self.call("resolve", call).await
    }

    /// No request waits for it, so it has no points.
    async fn purge_expired(&self, limit: usize) -> Result<usize, StoreError> {
        self.store.purge_expired(limit).await
    }

    async fn live_records(&self) -> Result<Option<u64>, StoreError> {
        self.store.live_records().await
    }

    async fn verify(&self) -> Verification {
        self.store.verify().await
    }

    fn subscribe(&self, id: &RecordId) -> Subscription {
        self.store.subscribe(id)
    }

    fn outcome_limit(&self) -> usize {
        self.store.outcome_limit()
    }
}
