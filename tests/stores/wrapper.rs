//! A store that wraps another one.

use std::{collections::BTreeMap, iter, sync::Arc, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use idempotency::{
    Fingerprint, Store,
    store::{
        Claim, ClaimRequest, Hold, IfOwner, ListRequest, Listed, Phase, Record, RecordId,
        Resolution, ScopeId, StoreError, Subscription, Token, Verification,
    },
};
use parking_lot::Mutex;

/// Counts its calls, and changes what is stored if it has a mask.
#[derive(Debug)]
pub(crate) struct Wrapper<S> {
    store: S,
    /// The mask is applied to every byte and appended at the end. Bytes that end in another mask are not this wrapper's.
    mask: Option<u8>,
    pub(crate) calls: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

impl<S> Wrapper<S> {
    pub(crate) fn counting(store: S) -> Self {
        Self {
            store,
            mask: None,
            calls: Arc::default(),
        }
    }

    pub(crate) fn masking(store: S, mask: u8) -> Self {
        Self {
            mask: Some(mask),
            ..Self::counting(store)
        }
    }

    fn count(&self, call: &'static str) {
        *self.calls.lock().entry(call).or_default() += 1;
    }

    /// Bound to its record, as an encryption would be.
    fn encode(&self, id: &RecordId, bytes: Bytes) -> Bytes {
        match self.mask {
            Some(mask) => {
                let mask_of_id = mask ^ id.as_bytes()[0];
                let masked = bytes.iter().map(|byte| byte ^ mask_of_id);
                masked.chain(iter::once(mask)).collect()
            }
            None => bytes,
        }
    }

    fn decode(&self, id: &RecordId, bytes: &Bytes) -> Result<Bytes, StoreError> {
        match (self.mask, bytes.split_last()) {
            (None, _) => Ok(bytes.clone()),
            (Some(mask), Some((last, masked))) if *last == mask => {
                let mask_of_id = mask ^ id.as_bytes()[0];
                Ok(masked.iter().map(|byte| byte ^ mask_of_id).collect())
            }
            (Some(_), _) => Err(StoreError::unreadable("it is not masked")),
        }
    }

    /// A run without progress has no mask either.
    fn decode_progress(&self, id: &RecordId, progress: &Bytes) -> Result<Bytes, StoreError> {
        match progress.is_empty() {
            true => Ok(Bytes::new()),
            false => self.decode(id, progress),
        }
    }

    fn decode_record(&self, mut record: Record) -> Result<Record, StoreError> {
        match &mut record.phase {
            Phase::Completed { outcome } => *outcome = self.decode(&record.id, outcome)?,
            Phase::InFlight { progress, .. } => {
                *progress = self.decode_progress(&record.id, progress)?;
            }
            other => panic!("a phase that a wrapper has to know: {other:?}"),
        }
        Ok(record)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Store> Store for Wrapper<S> {
    fn name(&self) -> &'static str {
        self.store.name()
    }

    fn wrapped(&self) -> Option<&dyn Store> {
        Some(&self.store)
    }

    fn encode_outcome(&self, id: &RecordId, outcome: Bytes) -> Result<Bytes, StoreError> {
        self.count("encode_outcome");
        Ok(self.encode(id, outcome))
    }

    fn check_room(&self, scope: &ScopeId) -> Result<(), StoreError> {
        self.store.check_room(scope)
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        self.count("claim");
        let id = request.hold.id;
        Ok(match self.store.claim(request).await? {
            Claim::Won {
                attempt, progress, ..
            } => Claim::won(attempt, self.decode_progress(&id, &progress)?),
            Claim::Completed {
                fingerprint,
                outcome,
                expires_at,
                ..
            } => Claim::completed(fingerprint, self.decode(&id, &outcome)?, expires_at),
            other => other,
        })
    }

    /// Its calls are asked for with a future, and counted.
    fn claim_now(&self, _: ClaimRequest<'_>) -> Option<Result<Claim, StoreError>> {
        None
    }

    async fn withdraw(&self, hold: &Hold, fingerprint: &Fingerprint) -> Result<(), StoreError> {
        self.count("withdraw");
        self.store.withdraw(hold, fingerprint).await
    }

    async fn renew(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        self.count("renew");
        self.store.renew(hold).await
    }

    async fn checkpoint(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        self.count("checkpoint");
        let progress = self.encode(&hold.id, progress);
        self.store.checkpoint(hold, progress).await
    }

    async fn suspend(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        self.count("suspend");
        let progress = self.encode(&hold.id, progress);
        self.store.suspend(hold, progress).await
    }

    async fn complete(
        &self,
        hold: &Hold,
        outcome: Bytes,
    ) -> Result<IfOwner<SystemTime>, StoreError> {
        self.count("complete");
        let outcome = self.encode(&hold.id, outcome);
        self.store.complete(hold, outcome).await
    }

    fn complete_now(&self, _: &Hold, _: &Bytes) -> Option<Result<IfOwner<SystemTime>, StoreError>> {
        None
    }

    async fn release(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        self.count("release");
        self.store.release(hold).await
    }

    async fn inspect(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        self.count("inspect");
        let found = self.store.inspect(id).await?;
        found.map(|record| self.decode_record(record)).transpose()
    }

    async fn list(&self, request: &ListRequest) -> Result<Vec<Listed>, StoreError> {
        self.count("list");
        let listed = self.store.list(request).await?;
        Ok(listed
            .into_iter()
            .map(|listed| {
                let record = listed.record.and_then(|record| self.decode_record(record));
                match record {
                    Ok(record) => record.into(),
                    Err(error) => Listed::unreadable(listed.id, error),
                }
            })
            .collect())
    }

    async fn resolve(
        &self,
        id: &RecordId,
        seen: &Token,
        resolution: Resolution,
    ) -> Result<IfOwner<()>, StoreError> {
        self.count("resolve");
        let resolution = match resolution {
            Resolution::Complete { outcome, ttl } => Resolution::Complete {
                outcome: self.encode(id, outcome),
                ttl,
            },
            Resolution::Replace { outcome } => Resolution::Replace {
                outcome: self.encode(id, outcome),
            },
            Resolution::Erase { outcome } => Resolution::Erase {
                outcome: self.encode(id, outcome),
            },
            other => other,
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
        let limit = self.store.outcome_limit();
        self.mask.map_or(limit, |_| limit - 1)
    }
}
