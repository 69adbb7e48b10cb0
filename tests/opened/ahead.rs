//! What a store says whose server's clock has gone on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use idempotency::{
    Fingerprint, Store, StoreError,
    store::{
        Claim, ClaimRequest, Hold, IfOwner, ListRequest, Listed, Phase, Record, RecordId,
        Resolution, Subscription, Token,
    },
};

/// A store on a clock that is ahead of its server's, by so many microseconds.
#[derive(Debug)]
pub(super) struct Ahead<S> {
    pub(super) store: S,
    pub(super) by: Arc<AtomicU64>,
}

impl<S> Ahead<S> {
    fn time(&self, time: SystemTime) -> SystemTime {
        time + Duration::from_micros(self.by.load(Ordering::SeqCst))
    }

    fn record(&self, mut record: Record) -> Record {
        record.expires_at = self.time(record.expires_at);
        record.created_at = record.created_at.map(|time| self.time(time));
        record.completed_at = record.completed_at.map(|time| self.time(time));
        if let Phase::InFlight { lease_until, .. } = &mut record.phase {
            *lease_until = self.time(*lease_until);
        }
        record
    }
}

#[async_trait]
impl<S: Store> Store for Ahead<S> {
    fn name(&self) -> &'static str {
        self.store.name()
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        let mut claim = self.store.claim(request).await?;
        if let Claim::Completed { expires_at, .. } = &mut claim {
            *expires_at = self.time(*expires_at);
        }
        Ok(claim)
    }

    async fn withdraw(&self, hold: &Hold, fingerprint: &Fingerprint) -> Result<(), StoreError> {
        self.store.withdraw(hold, fingerprint).await
    }

    async fn renew(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        self.store.renew(hold).await
    }

    async fn checkpoint(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        self.store.checkpoint(hold, progress).await
    }

    async fn suspend(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        self.store.suspend(hold, progress).await
    }

    async fn complete(
        &self,
        hold: &Hold,
        outcome: Bytes,
    ) -> Result<IfOwner<SystemTime>, StoreError> {
        Ok(match self.store.complete(hold, outcome).await? {
            IfOwner::Done(expires_at) => IfOwner::Done(self.time(expires_at)),
            IfOwner::NotOwner => IfOwner::NotOwner,
        })
    }

    async fn release(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        self.store.release(hold).await
    }

    async fn inspect(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        let found = self.store.inspect(id).await?;
        Ok(found.map(|record| self.record(record)))
    }

    async fn list(&self, request: &ListRequest) -> Result<Vec<Listed>, StoreError> {
        let by = Duration::from_micros(self.by.load(Ordering::SeqCst));
        let mut request = request.clone();
        request.created_before = request.created_before.map(|time| time - by);
        let listed = self.store.list(&request).await?;
        Ok(listed
            .into_iter()
            .map(|listed| match listed.record {
                Ok(record) => self.record(record).into(),
                Err(error) => Listed::unreadable(listed.id, error),
            })
            .collect())
    }

    async fn resolve(
        &self,
        id: &RecordId,
        seen: &Token,
        resolution: Resolution,
    ) -> Result<IfOwner<()>, StoreError> {
        self.store.resolve(id, seen, resolution).await
    }

    async fn purge_expired(&self, limit: usize) -> Result<usize, StoreError> {
        self.store.purge_expired(limit).await
    }

    fn subscribe(&self, id: &RecordId) -> Subscription {
        self.store.subscribe(id)
    }

    fn outcome_limit(&self) -> usize {
        self.store.outcome_limit()
    }
}
