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
    Store,
    store::{
        Claim, ClaimRequest, Hold, IfOwner, ListRequest, Listed, Phase, Record, RecordId,
        StoreError,
    },
};

use crate::delegate::Hooks;

/// A store on a clock that is ahead of its server's, by so many microseconds.
#[derive(Debug)]
pub(super) struct ClockSkew<S> {
    pub(super) store: S,
    pub(super) by: Arc<AtomicU64>,
}

impl<S> ClockSkew<S> {
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
impl<S: Store> Hooks for ClockSkew<S> {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        let mut claim = self.store.claim(request).await?;
        if let Claim::Completed { expires_at, .. } = &mut claim {
            *expires_at = self.time(*expires_at);
        }
        Ok(claim)
    }

    async fn complete(
        &self,
        hold: &Hold,
        outcome: Bytes,
    ) -> Result<IfOwner<SystemTime>, StoreError> {
        let done = self.store.complete(hold, outcome).await?;
        Ok(done.map(|expires_at| self.time(expires_at)))
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
}
