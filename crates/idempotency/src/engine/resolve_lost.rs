//! Lets an operator end a run only if its lease has expired by the store's clock.

use std::time::Duration;

use super::{Idempotency, KeyChange, store_timeout::with_store_timeout};
use crate::{
    OnLost,
    record::{Phase, Record, Token},
    store::{Claim, ClaimRequest, Hold, IfOwner, Resolution, StoreError},
};

/// How long the operator holds the key if this process dies before the resolution.
const LEASE: Duration = Duration::from_secs(15);

impl Idempotency {
    /// Ends the run that this record shows, as [`resolve`](Self::resolve) does, but only if its lease has expired: a run that goes on,
    /// or whose owner has recovered since the record was read, gives [`KeyChange::Held`].
    ///
    /// ```
    /// use idempotency::{Idempotency, operators::KeyChange, store::{ListRequest, ListedPhase, Resolution, StoreError}};
    ///
    /// /// Frees the first hundred keys whose owner is lost, and returns how many there were.
    /// async fn free_lost(idempotency: &Idempotency) -> Result<usize, StoreError> {
    ///     let lost = ListRequest::new(100).in_phase(ListedPhase::Lapsed);
    ///     let mut freed = 0;
    ///     for listed in idempotency.store().list(&lost).await? {
    ///         let change = idempotency.resolve_lost(&listed.record?, Resolution::Release).await?;
    ///         freed += usize::from(change == KeyChange::Made);
    ///     }
    ///     Ok(freed)
    /// }
    /// ```
    ///
    /// The store decides, by its own clock and in the step that takes the key from the owner; this process's clock does not
    /// count. A suspended run has no lease, so it is ended too. A key that was freed meanwhile gives [`KeyChange::Free`], and any other
    /// change since [`KeyChange::Changed`].
    ///
    /// # Errors
    ///
    /// If the store fails. The run may have ended then, or its key may be held for 15 seconds more: inspect the record again.
    pub async fn resolve_lost(
        &self,
        seen: &Record,
        resolution: Resolution,
    ) -> Result<KeyChange, StoreError> {
        let Phase::InFlight { lease_until, .. } = seen.phase else {
            return Ok(KeyChange::Changed);
        };
        // A claim does not say whose hold it takes over. A newer run may have lapsed since, whose attempt has the same number.
        match with_store_timeout(self.store(), self.store().inspect(&seen.id)).await? {
            None => return Ok(KeyChange::Free),
            Some(found) if found.token != seen.token => return Ok(KeyChange::Changed),
            Some(_) => {}
        }
        // A claim takes over what has lapsed, and nothing else.
        let ttl = seen.expires_at.duration_since(lease_until);
        let taken = Hold::new(seen.id, Token::random(), LEASE, ttl.unwrap_or_default())
            .with_labels(seen.labels.clone());
        let claim = ClaimRequest::new(&taken, &seen.fingerprint, OnLost::TakeOver);
        let claimed = with_store_timeout(self.store(), self.store().claim(claim)).await;
        let change = match claimed {
            Ok(Claim::Won { attempt, .. }) if attempt == seen.attempt.saturating_add(1) => {
                self.resolve_taken(seen, &taken, resolution).await
            }
            // A new key: the run has ended without an outcome.
            Ok(Claim::Won { attempt: 1, .. }) => Ok(KeyChange::Free),
            Ok(Claim::InFlight { fingerprint }) if fingerprint == seen.fingerprint => {
                return Ok(KeyChange::Held);
            }
            Ok(Claim::Won { .. }) => Ok(KeyChange::Changed),
            Ok(_) => return Ok(KeyChange::Changed),
            Err(error) => Err(error),
        };
        if !matches!(change, Ok(KeyChange::Made)) {
            let undone = self.store().withdraw(&taken, &seen.fingerprint);
            let undone = with_store_timeout(self.store(), undone).await;
            // The first error says why.
            return change.and_then(|change| undone.map(|()| change));
        }
        change
    }

    async fn resolve_taken(
        &self,
        seen: &Record,
        taken: &Hold,
        resolution: Resolution,
    ) -> Result<KeyChange, StoreError> {
        // Spends the lost owner's token, with which it could claim the free key again.
        let lost = taken.clone().with_token(seen.token);
        let spent = self.store().withdraw(&lost, &seen.fingerprint);
        with_store_timeout(self.store(), spent).await?;
        let mut record = seen.clone();
        record.token = taken.token;
        Ok(match self.resolve(&record, resolution).await? {
            IfOwner::Done(()) => KeyChange::Made,
            IfOwner::NotOwner => KeyChange::Changed,
        })
    }
}
