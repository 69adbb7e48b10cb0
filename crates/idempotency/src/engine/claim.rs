//! Claims keys. A claim whose run does not begin is withdrawn, whatever its caller does.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::{runtime::Handle, sync::OwnedSemaphorePermit, time::Instant};
use tracing::Instrument;

use super::{
    Idempotency,
    active_runs::{ActiveRuns, RunGuard},
    metrics::StoreCall,
    scope_limits::Admission,
    store_timeout::{STORE_TIMEOUT, with_store_timeout},
};
use crate::{
    Fingerprint, OnLost, Store,
    store::{Claim, ClaimRequest, Hold, StoreError, StoreErrorKind},
};

/// A claim in flight. If the caller drops it, or the store fails without saying whether the key was taken, a background task
/// finishes the claim and withdraws it, so that no orphaned hold blocks retries.
pub(super) struct Claiming {
    sent_at: Instant,
    /// `None` once the store has responded.
    call: Option<BoxFuture<'static, Result<Claim, StoreError>>>,
    withdrawal: Option<Withdrawal>,
}

/// A store's response to a claim.
pub(super) struct Claimed {
    pub(super) claim: Claim,
    /// When the lease of a hold that was won begins.
    pub(super) sent_at: Instant,
    /// Withdraws the claim if it was won.
    pub(super) withdrawal: Option<Withdrawal>,
    /// A place among the concurrent runs, if the claim was won for a run.
    pub(super) place: Option<OwnedSemaphorePermit>,
    /// What its scope may take, if the claim was won for a new key and scopes have limits.
    pub(super) admission: Option<Admission>,
}

/// Withdraws a claim in the background when it is dropped, unless the run has [begun](Self::cancel).
pub(super) struct Withdrawal {
    /// `None` once there is nothing to withdraw.
    // In a box, so that the futures of runs are small.
    claim: Option<Box<SentClaim>>,
    // Stored, because the caller may drop this outside of the runtime.
    runtime: Handle,
}

pub(super) struct SentClaim {
    pub(super) store: Arc<dyn Store>,
    pub(super) runs: Arc<ActiveRuns>,
    pub(super) hold: Hold,
    pub(super) fingerprint: Fingerprint,
    pub(super) on_lost: OnLost,
}

impl Claiming {
    pub(super) fn new(
        idempotency: &Idempotency,
        hold: &Hold,
        fingerprint: &Fingerprint,
        on_lost: OnLost,
    ) -> Self {
        let withdrawal = Withdrawal::new(idempotency, hold, fingerprint, on_lost);
        let store = Arc::clone(&idempotency.0.store);
        let (hold, fingerprint) = (hold.clone(), *fingerprint);
        let call = async move {
            let request = ClaimRequest::new(&hold, &fingerprint, on_lost);
            store.claim(request).await
        };
        Self {
            sent_at: Instant::now(),
            call: Some(Box::pin(call)),
            withdrawal: Some(withdrawal),
        }
    }
}

impl Future for Claiming {
    type Output = Result<Claimed, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(call) = &mut self.call else {
            panic!("a claim is not polled after its response");
        };
        let response = std::task::ready!(call.as_mut().poll(context));
        self.call = None;
        let withdrawal = self.withdrawal.take();
        let withdrawal = withdrawal.and_then(|withdrawal| withdrawal.after(&response));
        let sent_at = self.sent_at;
        Poll::Ready(response.map(|claim| Claimed {
            claim,
            sent_at,
            withdrawal,
            place: None,
            admission: None,
        }))
    }
}

impl Drop for Claiming {
    fn drop(&mut self) {
        let (Some(call), Some(mut withdrawal)) = (self.call.take(), self.withdrawal.take()) else {
            return;
        };
        let Some(claim) = withdrawal.claim.take() else {
            return;
        };
        let guard = ActiveRuns::enter_withdrawal(&claim.runs, &claim.store);
        // A claim that is cut off midway may still arrive, so this waits for its response first. A claim that panicked
        // panics again.
        let call = AssertUnwindSafe(call).catch_unwind();
        let runtime = withdrawal.runtime.clone();
        let finishing = async move {
            match tokio::time::timeout(STORE_TIMEOUT, call).await {
                Ok(Ok(Ok(
                    Claim::InFlight { .. } | Claim::Unknown { .. } | Claim::Completed { .. },
                ))) => {}
                _ => claim.withdraw(guard, &runtime),
            }
        };
        withdrawal.runtime.spawn(finishing.in_current_span());
    }
}

impl Withdrawal {
    fn new(
        idempotency: &Idempotency,
        hold: &Hold,
        fingerprint: &Fingerprint,
        on_lost: OnLost,
    ) -> Self {
        Self::in_runtime(Handle::current(), idempotency, hold, fingerprint, on_lost)
    }

    fn in_runtime(
        runtime: Handle,
        idempotency: &Idempotency,
        hold: &Hold,
        fingerprint: &Fingerprint,
        on_lost: OnLost,
    ) -> Self {
        let claim = SentClaim {
            store: Arc::clone(&idempotency.0.store),
            runs: Arc::clone(&idempotency.0.active_runs),
            hold: hold.clone(),
            fingerprint: *fingerprint,
            on_lost,
        };
        Self {
            claim: Some(Box::new(claim)),
            runtime,
        }
    }

    /// What is left to withdraw once the store has responded. A claim that may have taken the key, although it failed, is withdrawn here.
    fn after(self, response: &Result<Claim, StoreError>) -> Option<Self> {
        if !may_hold_key(response) {
            self.cancel();
            return None;
        }
        // That of a claim that failed is dropped here, which withdraws it.
        response.is_ok().then_some(self)
    }

    /// Leaves the hold to the run that has begun.
    pub(super) fn cancel(mut self) {
        self.claim = None;
    }
}

impl Drop for Withdrawal {
    fn drop(&mut self) {
        if let Some(claim) = self.claim.take() {
            let guard = ActiveRuns::enter_withdrawal(&claim.runs, &claim.store);
            claim.withdraw(guard, &self.runtime);
        }
    }
}

/// Whether a claim with this response has the key, or may have it although it failed.
fn may_hold_key(response: &Result<Claim, StoreError>) -> bool {
    match response {
        Ok(claim) => matches!(claim, Claim::Won { .. }),
        Err(error) => error.kind() == StoreErrorKind::Unavailable && error.was_sent(),
    }
}

impl SentClaim {
    /// Has the claim withdrawn. A shutdown waits for that.
    fn withdraw(self, guard: RunGuard, runtime: &Handle) {
        let runs = Arc::clone(&self.runs);
        runs.withdrawals.push(self, guard, runtime);
    }
}

impl Idempotency {
    /// Claims the key without waiting; `None` if the store has to be waited for, there is no place for the run, or its scope is at a limit.
    pub(super) fn claim_at_once(
        &self,
        hold: &Hold,
        fingerprint: &Fingerprint,
        on_lost: OnLost,
    ) -> Option<Result<Claimed, StoreError>> {
        let place = self.place_to_run().ok()?;
        // A scope at its limit may still claim old keys, which have to be looked for first.
        let admission = self.admit(hold.scope).ok()?;
        let store = self.store();
        let measured = StoreCall::start();
        let sent_at = Instant::now();
        // Nothing that may panic stands between a claim and its withdrawal.
        let runtime = Handle::current();
        let withdrawal =
            || Withdrawal::in_runtime(runtime.clone(), self, hold, fingerprint, on_lost);
        let call = || store.claim_now(ClaimRequest::new(hold, fingerprint, on_lost));
        let response = catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
            // It may have taken the key.
            drop(withdrawal());
            resume_unwind(panic)
        })?;
        // Most responses are those of completed keys, and leave nothing to withdraw.
        let withdrawal = may_hold_key(&response).then(withdrawal);
        let withdrawal = withdrawal.and_then(|withdrawal| withdrawal.after(&response));
        measured.end(store.name(), &response);
        let claimed = response.map(|claim| Claimed {
            sent_at,
            withdrawal,
            // Only a request that runs keeps the place.
            place: Some(place).filter(|_| matches!(claim, Claim::Won { .. })),
            // Only a new key counts.
            admission: admission.filter(|_| matches!(claim, Claim::Won { attempt: 1, .. })),
            claim,
        });
        Some(claimed.map_err(|error| error.with_store(store.name())))
    }

    /// Claims the key once.
    pub(super) async fn claim_once(
        &self,
        hold: &Hold,
        fingerprint: &Fingerprint,
        on_lost: OnLost,
    ) -> Result<Claimed, StoreError> {
        with_store_timeout(
            &self.0.store,
            Claiming::new(self, hold, fingerprint, on_lost),
        )
        .await
    }
}
