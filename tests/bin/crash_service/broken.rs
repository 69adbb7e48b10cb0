//! Faults that the service can have on purpose.

use std::{sync::Arc, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use clap::ValueEnum;
use idempotency::{
    Fingerprint, Store,
    store::{Claim, ClaimRequest, Hold, IfOwner, Resolution, StoreError},
};
use tests::delegate::Hooks;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Broken {
    /// A run that has lost its key can still complete it.
    Unfenced,
    /// The booking is committed first, and the key's record afterwards.
    SecondCommit,
    /// A claim whose run does not begin is not withdrawn.
    KeepsClaims,
    /// A claim takes the key from its owner.
    Steals,
}

/// A store that breaks its contract, if the service's guarantee is to be broken there.
#[derive(Debug)]
pub(crate) struct BrokenStore {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) broken: Broken,
}

#[async_trait]
impl Hooks for BrokenStore {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        let ClaimRequest {
            hold,
            fingerprint,
            on_lost,
            ..
        } = request;
        let claimed = self
            .store
            .claim(ClaimRequest::new(hold, fingerprint, on_lost))
            .await?;
        if self.broken == Broken::Steals
            && matches!(claimed, Claim::InFlight { .. })
            && let Some(record) = self.store.inspect(&hold.id).await?
        {
            let freed = Resolution::Release;
            self.store.resolve(&hold.id, &record.token, freed).await?;
            return self
                .store
                .claim(ClaimRequest::new(hold, fingerprint, on_lost))
                .await;
        }
        Ok(claimed)
    }

    async fn withdraw(&self, hold: &Hold, fingerprint: &Fingerprint) -> Result<(), StoreError> {
        if self.broken == Broken::KeepsClaims {
            return Ok(());
        }
        self.store.withdraw(hold, fingerprint).await
    }

    async fn renew(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        let renewed = self.store.renew(hold).await?;
        if self.broken == Broken::Unfenced {
            return Ok(IfOwner::Done(()));
        }
        Ok(renewed)
    }

    async fn complete(
        &self,
        hold: &Hold,
        outcome: Bytes,
    ) -> Result<IfOwner<SystemTime>, StoreError> {
        let completed = self.store.complete(hold, outcome.clone()).await?;
        if matches!(completed, IfOwner::Done(_)) || self.broken != Broken::Unfenced {
            return Ok(completed);
        }
        if let Some(record) = self.store.inspect(&hold.id).await? {
            let ttl = hold.ttl;
            let by_force = Resolution::Complete { outcome, ttl };
            self.store
                .resolve(&hold.id, &record.token, by_force)
                .await?;
        }
        Ok(IfOwner::Done(SystemTime::now() + hold.ttl))
    }

    async fn release(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        if self.broken == Broken::KeepsClaims {
            return Ok(IfOwner::Done(()));
        }
        self.store.release(hold).await
    }
}
