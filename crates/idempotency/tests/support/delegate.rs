//! A store around another one, for tests in which some of its verbs do something else.

use std::{fmt, ops::Deref, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use idempotency::{
    Fingerprint, Store,
    store::{
        Claim, ClaimRequest, Hold, IfOwner, ListRequest, Listed, Record, RecordId, Resolution,
        ScopeId, StoreError, Subscription, Token,
    },
};

/// What a [`Delegate`] does, verb by verb. A verb without a hook goes to the inner store.
#[async_trait]
pub trait Hooks: fmt::Debug + Send + Sync + 'static {
    /// The inner store.
    fn store(&self) -> &dyn Store;

    /// As [`Store::wrapped`]: none, so that no transaction finds the inner store.
    fn wrapped(&self) -> Option<&dyn Store> {
        None
    }

    /// As [`Store::encode_outcome`].
    fn encode_outcome(&self, _: &RecordId, outcome: Bytes) -> Result<Bytes, StoreError> {
        Ok(outcome)
    }

    /// As [`Store::check_room`].
    fn check_room(&self, scope: &ScopeId) -> Result<(), StoreError> {
        self.store().check_room(scope)
    }

    /// As [`Store::claim`].
    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        self.store().claim(request).await
    }

    /// As [`Store::claim_now`]: none, so that every claim goes through [`claim`](Self::claim).
    fn claim_now(&self, _: ClaimRequest<'_>) -> Option<Result<Claim, StoreError>> {
        None
    }

    /// As [`Store::withdraw`].
    async fn withdraw(&self, hold: &Hold, fingerprint: &Fingerprint) -> Result<(), StoreError> {
        self.store().withdraw(hold, fingerprint).await
    }

    /// As [`Store::renew`].
    async fn renew(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        self.store().renew(hold).await
    }

    /// As [`Store::checkpoint`].
    async fn checkpoint(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        self.store().checkpoint(hold, progress).await
    }

    /// As [`Store::suspend`].
    async fn suspend(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        self.store().suspend(hold, progress).await
    }

    /// As [`Store::complete`].
    async fn complete(
        &self,
        hold: &Hold,
        outcome: Bytes,
    ) -> Result<IfOwner<SystemTime>, StoreError> {
        self.store().complete(hold, outcome).await
    }

    /// As [`Store::complete_now`]: none, like [`claim_now`](Self::claim_now).
    fn complete_now(&self, _: &Hold, _: &Bytes) -> Option<Result<IfOwner<SystemTime>, StoreError>> {
        None
    }

    /// As [`Store::release`].
    async fn release(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        self.store().release(hold).await
    }

    /// As [`Store::inspect`].
    async fn inspect(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        self.store().inspect(id).await
    }

    /// As [`Store::list`].
    async fn list(&self, request: &ListRequest) -> Result<Vec<Listed>, StoreError> {
        self.store().list(request).await
    }

    /// As [`Store::resolve`].
    async fn resolve(
        &self,
        id: &RecordId,
        seen: &Token,
        resolution: Resolution,
    ) -> Result<IfOwner<()>, StoreError> {
        self.store().resolve(id, seen, resolution).await
    }

    /// As [`Store::purge_expired`].
    async fn purge_expired(&self, limit: usize) -> Result<usize, StoreError> {
        self.store().purge_expired(limit).await
    }

    /// As [`Store::subscribe`].
    fn subscribe(&self, id: &RecordId) -> Subscription {
        self.store().subscribe(id)
    }

    /// As [`Store::outcome_limit`].
    fn outcome_limit(&self) -> usize {
        self.store().outcome_limit()
    }
}

/// The store that these hooks make.
#[derive(Debug)]
pub struct Delegate<H>(pub H);

impl<H> Deref for Delegate<H> {
    type Target = H;

    fn deref(&self) -> &H {
        &self.0
    }
}

#[async_trait]
impl<H: Hooks> Store for Delegate<H> {
    fn name(&self) -> &'static str {
        self.0.store().name()
    }

    fn wrapped(&self) -> Option<&dyn Store> {
        self.0.wrapped()
    }

    fn encode_outcome(&self, id: &RecordId, outcome: Bytes) -> Result<Bytes, StoreError> {
        self.0.encode_outcome(id, outcome)
    }

    fn check_room(&self, scope: &ScopeId) -> Result<(), StoreError> {
        self.0.check_room(scope)
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        self.0.claim(request).await
    }

    fn claim_now(&self, request: ClaimRequest<'_>) -> Option<Result<Claim, StoreError>> {
        self.0.claim_now(request)
    }

    async fn withdraw(&self, hold: &Hold, fingerprint: &Fingerprint) -> Result<(), StoreError> {
        self.0.withdraw(hold, fingerprint).await
    }

    async fn renew(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        self.0.renew(hold).await
    }

    async fn checkpoint(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        self.0.checkpoint(hold, progress).await
    }

    async fn suspend(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        self.0.suspend(hold, progress).await
    }

    async fn complete(
        &self,
        hold: &Hold,
        outcome: Bytes,
    ) -> Result<IfOwner<SystemTime>, StoreError> {
        self.0.complete(hold, outcome).await
    }

    fn complete_now(
        &self,
        hold: &Hold,
        outcome: &Bytes,
    ) -> Option<Result<IfOwner<SystemTime>, StoreError>> {
        self.0.complete_now(hold, outcome)
    }

    async fn release(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        self.0.release(hold).await
    }

    async fn inspect(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        self.0.inspect(id).await
    }

    async fn list(&self, request: &ListRequest) -> Result<Vec<Listed>, StoreError> {
        self.0.list(request).await
    }

    async fn resolve(
        &self,
        id: &RecordId,
        seen: &Token,
        resolution: Resolution,
    ) -> Result<IfOwner<()>, StoreError> {
        self.0.resolve(id, seen, resolution).await
    }

    async fn purge_expired(&self, limit: usize) -> Result<usize, StoreError> {
        self.0.purge_expired(limit).await
    }

    async fn live_records(&self) -> Result<Option<u64>, StoreError> {
        self.0.store().live_records().await
    }

    fn subscribe(&self, id: &RecordId) -> Subscription {
        self.0.subscribe(id)
    }

    fn outcome_limit(&self) -> usize {
        self.0.outcome_limit()
    }
}
