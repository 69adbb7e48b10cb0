//! The store of an engine that has a secret: outcomes and progress are encrypted before they reach the inner store.

use std::{sync::Arc, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Claim, ClaimRequest, Hold, IfOwner, ListRequest, Listed, Resolution, Store, StoreError,
    Subscription, Verification,
    seal::{self, SEAL_LENGTH, Sealed, SealingKey},
};
use crate::{
    Fingerprint,
    record::{Phase, Record, RecordId, ScopeId, Token},
};

/// Seals outcomes and progress. Ids and fingerprints are digests already, which the engine keys with the same secret.
#[derive(Debug)]
pub(crate) struct SealedStore {
    store: Arc<dyn Store>,
    /// `None` while services without a secret have to read what this one stores.
    key: Option<SealingKey>,
    /// That of the other secret, while the secret is changed.
    other_key: Option<SealingKey>,
    /// Whether services that share the store have no secret, or had none before the change.
    reads_unsealed: bool,
}

impl SealedStore {
    /// Seals with this secret and opens with both; an empty one is none.
    pub(crate) fn new(store: Arc<dyn Store>, secret: &[u8], other_secret: Option<&[u8]>) -> Self {
        let reads_unsealed = secret.is_empty() || other_secret.is_some_and(<[u8]>::is_empty);
        let key = |secret: &[u8]| (!secret.is_empty()).then(|| SealingKey::of_secret(secret));
        Self {
            store,
            key: key(secret),
            other_key: other_secret.and_then(key),
            reads_unsealed,
        }
    }

    /// The inner store, for calls without an outcome or progress.
    pub(crate) fn behind(&self) -> &dyn Store {
        &self.store
    }

    fn seal(&self, kind: Sealed, id: &RecordId, plain: Bytes) -> Bytes {
        match &self.key {
            // No progress stays none, so that a store sees that there is nothing to keep.
            Some(key) if !plain.is_empty() => key.seal(kind, id, &plain),
            _ => plain,
        }
    }

    /// Seals progress as the record's progress is sealed, if there is no own key: a store takes a shorter progress for an
    /// outdated one, and another service may have sealed this one.
    async fn seal_progress(&self, id: &RecordId, plain: Bytes) -> Result<Bytes, StoreError> {
        if self.key.is_none()
            && let Some(other_key) = &self.other_key
            && let Some(record) = self.store.inspect(id).await?
            && let Phase::InFlight { progress, .. } = record.phase
            && seal::is_sealed(&progress)
        {
            return Ok(other_key.seal(Sealed::Progress, id, &plain));
        }
        Ok(self.seal(Sealed::Progress, id, plain))
    }

    /// The bytes that were sealed. While the first secret is being introduced, bytes that were never sealed are returned unchanged.
    fn open(&self, kind: Sealed, id: &RecordId, stored: Bytes) -> Result<Bytes, StoreError> {
        if !seal::is_sealed(&stored) {
            // A run without steps leaves no progress.
            return if self.reads_unsealed || stored.is_empty() {
                Ok(stored)
            } else {
                Err(StoreError::unreadable(
                    "it is not encrypted, and every service that shares the store should encrypt",
                ))
            };
        }
        let keys = [&self.key, &self.other_key];
        let key = keys.into_iter().flatten().find(|key| key.sealed(&stored));
        let Some(key) = key else {
            return Err(StoreError::unreadable(
                "it was encrypted with a secret that this service does not have",
            ));
        };
        key.open(kind, id, &stored).ok_or_else(|| {
            StoreError::unreadable(
                "it cannot be decrypted, because it was changed or is of another record",
            )
        })
    }

    fn open_record(&self, mut record: Record) -> Result<Record, StoreError> {
        match &mut record.phase {
            Phase::Completed { outcome } => {
                *outcome = self.open(Sealed::Outcome, &record.id, outcome.clone())?;
            }
            Phase::InFlight { progress, .. } => {
                *progress = self.open(Sealed::Progress, &record.id, progress.clone())?;
            }
        }
        Ok(record)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for SealedStore {
    fn name(&self) -> &'static str {
        self.store.name()
    }

    fn wrapped(&self) -> Option<&dyn Store> {
        Some(&self.store)
    }

    fn encode_outcome(&self, id: &RecordId, outcome: Bytes) -> Result<Bytes, StoreError> {
        Ok(self.seal(Sealed::Outcome, id, outcome))
    }

    fn check_room(&self, scope: &ScopeId) -> Result<(), StoreError> {
        self.store.check_room(scope)
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        let (hold, fingerprint) = (request.hold, request.fingerprint);
        match self.store.claim(request).await? {
            Claim::Won { attempt, progress } => {
                match self.open(Sealed::Progress, &hold.id, progress) {
                    Ok(progress) => Ok(Claim::won(attempt, progress)),
                    Err(unreadable) => {
                        // No run begins under this claim, which would keep the key until its lease expires. If the withdrawal
                        // fails, however it does, the claim was taken all the same.
                        self.store
                            .withdraw(hold, fingerprint)
                            .await
                            .map_err(StoreError::unavailable)?;
                        Err(unreadable)
                    }
                }
            }
            Claim::Completed {
                fingerprint,
                outcome,
                expires_at,
            } => {
                let outcome = self.open(Sealed::Outcome, &hold.id, outcome)?;
                Ok(Claim::completed(fingerprint, outcome, expires_at))
            }
            taken @ (Claim::InFlight { .. } | Claim::Unknown { .. }) => Ok(taken),
        }
    }

    /// Encryption takes longer than a future.
    fn claim_now(&self, _: ClaimRequest<'_>) -> Option<Result<Claim, StoreError>> {
        None
    }

    async fn withdraw(&self, hold: &Hold, fingerprint: &Fingerprint) -> Result<(), StoreError> {
        self.store.withdraw(hold, fingerprint).await
    }

    async fn renew(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        self.store.renew(hold).await
    }

    async fn checkpoint(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        let progress = self.seal_progress(&hold.id, progress).await?;
        self.store.checkpoint(hold, progress).await
    }

    async fn suspend(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        let progress = self.seal_progress(&hold.id, progress).await?;
        self.store.suspend(hold, progress).await
    }

    async fn complete(
        &self,
        hold: &Hold,
        outcome: Bytes,
    ) -> Result<IfOwner<SystemTime>, StoreError> {
        let outcome = self.seal(Sealed::Outcome, &hold.id, outcome);
        self.store.complete(hold, outcome).await
    }

    fn complete_now(&self, _: &Hold, _: &Bytes) -> Option<Result<IfOwner<SystemTime>, StoreError>> {
        None
    }

    async fn release(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        self.store.release(hold).await
    }

    async fn inspect(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        let found = self.store.inspect(id).await?;
        found.map(|record| self.open_record(record)).transpose()
    }

    async fn list(&self, request: &ListRequest) -> Result<Vec<Listed>, StoreError> {
        let listed = self.store.list(request).await?;
        let opened = listed.into_iter().map(|listed| {
            let id = listed.id;
            match listed.record.and_then(|record| self.open_record(record)) {
                Ok(record) => record.into(),
                Err(error) => Listed::unreadable(id, error),
            }
        });
        Ok(opened.collect())
    }

    async fn resolve(
        &self,
        id: &RecordId,
        seen: &Token,
        resolution: Resolution,
    ) -> Result<IfOwner<()>, StoreError> {
        let resolution = match resolution {
            Resolution::Complete { outcome, ttl } => Resolution::Complete {
                outcome: self.seal(Sealed::Outcome, id, outcome),
                ttl,
            },
            Resolution::Replace { outcome } => Resolution::Replace {
                outcome: self.seal(Sealed::Outcome, id, outcome),
            },
            Resolution::Erase { outcome } => Resolution::Erase {
                outcome: self.seal(Sealed::Outcome, id, outcome),
            },
            other @ (Resolution::Release | Resolution::Forget) => other,
        };
        self.store.resolve(id, seen, resolution).await
    }

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
        self.store.outcome_limit().saturating_sub(SEAL_LENGTH)
    }
}
