//! How a run makes sure that it still holds its key.

use bytes::Bytes;
use tokio::time::Instant;

use super::{Idempotency, active_runs::ActiveRuns, store_timeout::with_store_timeout};
use crate::{
    Fingerprint, OnLost, Store,
    store::{Claim, ClaimRequest, Hold, IfOwner, StoreError, StoreErrorKind},
};

/// How often a hold is renewed until a response leaves enough of the lease.
const MAX_RENEWALS: usize = 3;

impl Idempotency {
    /// Renews the hold until a store's response leaves two thirds of its lease, and returns when that lease began.
    /// `sent_at` is when the current lease began, if that is known.
    ///
    /// A lease counts from before its call was sent: the store may have executed the call at once and responded late,
    /// after the hold expired and another run began.
    pub(crate) async fn refresh(
        &self,
        hold: &Hold,
        fingerprint: &Fingerprint,
        mut sent_at: Option<Instant>,
    ) -> Result<IfOwner<Instant>, StoreError> {
        let mut renewals = 0;
        loop {
            if let Some(sent_at) = sent_at
                && hold.is_fresh(sent_at)
            {
                return Ok(IfOwner::Done(sent_at));
            }
            if renewals == MAX_RENEWALS {
                break;
            }
            renewals += 1;
            let now = Instant::now();
            let renewed = with_store_timeout(&self.0.store, self.0.store.renew(hold)).await?;
            if renewed == IfOwner::NotOwner
                && !self
                    .0
                    .active_runs
                    .reclaim(self.store(), hold, fingerprint)
                    .await?
            {
                return Ok(IfOwner::NotOwner);
            }
            sent_at = Some(now);
        }
        Err(StoreError::unavailable(format!(
            "the store takes longer to respond than a third of the lease of {} seconds",
            hold.lease.as_secs_f32(),
        ))
        .with_store(self.store().name()))
    }
}

impl Hold {
    /// Whether two thirds of a lease are left that began then.
    pub(super) fn is_fresh(&self, sent_at: Instant) -> bool {
        sent_at.elapsed() < self.lease / 3
    }
}

impl ActiveRuns {
    /// Claims the key again for a run whose record the store has lost, as a server that fails over may. Returns false if
    /// another run has a record, or an operator has released this run's record, which spends its token.
    ///
    /// While the secret is being changed no run claims its key again. A free key may have a record under the other secret,
    /// and looking there first would not do: a transaction of the run may commit between the claim and the look.
    pub(super) async fn reclaim(
        &self,
        store: &dyn Store,
        hold: &Hold,
        fingerprint: &Fingerprint,
    ) -> Result<bool, StoreError> {
        if self.is_in_rotation {
            return Ok(false);
        }
        if with_store_timeout(store, store.inspect(&hold.id))
            .await?
            .is_some()
        {
            return Ok(false);
        }
        let request = ClaimRequest::new(hold, fingerprint, OnLost::Refuse);
        let claimed = with_store_timeout(store, store.claim(request)).await;
        match claimed {
            Ok(Claim::Won { attempt, .. }) if self.note_attempt(&hold.token, attempt) => {}
            // The run has ended meanwhile, so the claim would hold the key for no run.
            Ok(Claim::Won { .. }) => {
                with_store_timeout(store, store.withdraw(hold, fingerprint)).await?;
                return Ok(false);
            }
            Ok(_) => return Ok(false),
            Err(error) if error.kind() == StoreErrorKind::Withdrawn => return Ok(false),
            Err(error) => return Err(error),
        }
        tracing::warn!(
            idempotency.store = store.name(),
            idempotency.record = %hold.id,
            "the store has lost the record of a run that goes on; the run has claimed its key again",
        );
        self.restore_progress(store, hold).await?;
        Ok(true)
    }

    /// Stores the progress of a run again. A step that ends meanwhile notes its progress before it stores it, so that the
    /// progress noted last is also stored last.
    pub(super) async fn restore_progress(
        &self,
        store: &dyn Store,
        hold: &Hold,
    ) -> Result<(), StoreError> {
        let mut kept = Bytes::new();
        while let Some(progress) = self.progress_of(&hold.token)
            && progress != kept
        {
            if with_store_timeout(store, store.checkpoint(hold, progress.clone())).await?
                == IfOwner::NotOwner
            {
                return Ok(());
            }
            kept = progress;
        }
        Ok(())
    }
}
