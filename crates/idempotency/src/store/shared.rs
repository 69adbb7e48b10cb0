//! Makes a handle on a store a store.

use std::{sync::Arc, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Claim, ClaimRequest, Hold, IfOwner, ListRequest, Listed, Record, RecordId, Resolution, ScopeId,
    Store, StoreError, Subscription, Token, Verification,
};
use crate::Fingerprint;

/// Two implementations, because only a sized store and `dyn Store` itself can be coerced to a `dyn Store`.
macro_rules! delegate {
    ($handle:ty $(, $store:ident)?) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl$(<$store: Store>)? Store for $handle {
                fn name(&self) -> &'static str {
                    self.as_ref().name()
                }

                fn wrapped(&self) -> Option<&dyn Store> {
                    Some(self.as_ref())
                }

                /// The handle returns the outcome unchanged; the callers ask the wrapped store itself.
                fn encode_outcome(&self, _: &RecordId, outcome: Bytes) -> Result<Bytes, StoreError> {
                    Ok(outcome)
                }

                fn check_room(&self, scope: &ScopeId) -> Result<(), StoreError> {
                    self.as_ref().check_room(scope)
                }

                async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
                    self.as_ref().claim(request).await
                }

                fn claim_now(&self, request: ClaimRequest<'_>) -> Option<Result<Claim, StoreError>> {
                    self.as_ref().claim_now(request)
                }

                async fn withdraw(&self, hold: &Hold, fingerprint: &Fingerprint) -> Result<(), StoreError> {
                    self.as_ref().withdraw(hold, fingerprint).await
                }

                async fn renew(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
                    self.as_ref().renew(hold).await
                }

                async fn checkpoint(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
                    self.as_ref().checkpoint(hold, progress).await
                }

                async fn suspend(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
                    self.as_ref().suspend(hold, progress).await
                }

                async fn complete(
                    &self,
                    hold: &Hold,
                    outcome: Bytes,
                ) -> Result<IfOwner<SystemTime>, StoreError> {
                    self.as_ref().complete(hold, outcome).await
                }

                fn complete_now(
                    &self,
                    hold: &Hold,
                    outcome: &Bytes,
                ) -> Option<Result<IfOwner<SystemTime>, StoreError>> {
                    self.as_ref().complete_now(hold, outcome)
                }

                async fn release(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
                    self.as_ref().release(hold).await
                }

                async fn inspect(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
                    self.as_ref().inspect(id).await
                }

                async fn list(&self, request: &ListRequest) -> Result<Vec<Listed>, StoreError> {
                    self.as_ref().list(request).await
                }

                async fn resolve(
                    &self,
                    id: &RecordId,
                    seen: &Token,
                    resolution: Resolution,
                ) -> Result<IfOwner<()>, StoreError> {
                    self.as_ref().resolve(id, seen, resolution).await
                }

                async fn purge_expired(&self, limit: usize) -> Result<usize, StoreError> {
                    self.as_ref().purge_expired(limit).await
                }

                async fn live_records(&self) -> Result<Option<u64>, StoreError> {
                    self.as_ref().live_records().await
                }

                async fn verify(&self) -> Verification {
                    self.as_ref().verify().await
                }

                fn subscribe(&self, id: &RecordId) -> Subscription {
                    self.as_ref().subscribe(id)
                }

                fn outcome_limit(&self) -> usize {
                    self.as_ref().outcome_limit()
                }
        }
    };
}

delegate!(Arc<S>, S);
delegate!(Arc<dyn Store>);
