//! Stores that are wrong in one way each, and the function that finds it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use idempotency::{
    Fingerprint, MemoryStore, Store, conformance,
    store::{
        Claim, ClaimRequest, Hold, IfOwner, Phase, Polling, Record, RecordId, StoreError,
        Subscription, Wakeups,
    },
};

use crate::delegate::{Delegate, Hooks};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// Its renewals read the record, and write it back later.
    StaleRenewal,
    OneLease,
    OneTtl,
    NoZero,
    SilentRelease,
    /// A withdrawal during another owner's run leaves no mark.
    ForgetfulWithdrawal,
    /// A wrapper that passes on the steps without a future, whatever it does in the others.
    BarePassing,
}

/// Before each outcome that a [wrapper](Fault::BarePassing) stores.
const MARK: &[u8] = b"marked ";

/// A memory store with this fault.
#[derive(Debug)]
struct Wrong {
    inner: MemoryStore,
    fault: Fault,
    written_back: Mutex<HashMap<RecordId, Record>>,
    wakeups: Wakeups,
}

impl Wrong {
    fn hold(&self, hold: &Hold) -> Hold {
        let mut hold = hold.clone();
        match self.fault {
            Fault::OneLease => hold.lease = Duration::from_secs(30),
            Fault::OneTtl => hold.ttl = Duration::from_secs(3600),
            Fault::StaleRenewal
            | Fault::NoZero
            | Fault::SilentRelease
            | Fault::ForgetfulWithdrawal
            | Fault::BarePassing => {}
        }
        hold
    }

    fn forget(&self, id: &RecordId) {
        self.written_back.lock().expect("a lock").remove(id);
    }
}

#[async_trait]
impl Hooks for Wrong {
    fn store(&self) -> &dyn Store {
        &self.inner
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        if self.fault == Fault::NoZero && request.hold.lease.is_zero() {
            return Err(StoreError::unavailable("a lease of zero"));
        }
        let hold = self.hold(request.hold);
        let request = ClaimRequest::new(&hold, request.fingerprint, request.on_lost);
        match self.inner.claim(request).await {
            Ok(Claim::Completed {
                fingerprint,
                outcome,
                expires_at,
                ..
            }) if self.fault == Fault::BarePassing => {
                let outcome = outcome.strip_prefix(MARK).ok_or("no mark");
                let outcome = outcome.map_err(StoreError::unreadable)?;
                let outcome = Bytes::copy_from_slice(outcome);
                Ok(Claim::completed(fingerprint, outcome, expires_at))
            }
            claimed => claimed,
        }
    }

    fn claim_now(&self, request: ClaimRequest<'_>) -> Option<Result<Claim, StoreError>> {
        (self.fault == Fault::BarePassing).then(|| self.inner.claim_now(request))?
    }

    async fn withdraw(&self, hold: &Hold, f: &Fingerprint) -> Result<(), StoreError> {
        let found = self.inner.inspect(&hold.id).await?;
        match self.fault {
            Fault::ForgetfulWithdrawal if found.is_some_and(|run| run.token != hold.token) => {
                Ok(())
            }
            _ => self.inner.withdraw(hold, f).await,
        }
    }

    async fn renew(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        let found = self.inner.inspect(&hold.id).await?;
        if self.fault == Fault::StaleRenewal
            && let Some(found) = found
            && matches!(found.phase, Phase::InFlight { .. })
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let mut written_back = self.written_back.lock().expect("a lock");
            written_back.insert(hold.id, found);
        }
        self.inner.renew(&self.hold(hold)).await
    }

    async fn checkpoint(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        self.forget(&hold.id);
        self.inner.checkpoint(hold, progress).await
    }

    async fn complete(&self, hold: &Hold, o: Bytes) -> Result<IfOwner<SystemTime>, StoreError> {
        self.forget(&hold.id);
        let o = match self.fault {
            Fault::BarePassing => [MARK, &o].concat().into(),
            _ => o,
        };
        let completed = self.inner.complete(&self.hold(hold), o).await;
        self.wakeups.wake(&hold.id);
        completed
    }

    fn complete_now(&self, h: &Hold, o: &Bytes) -> Option<Result<IfOwner<SystemTime>, StoreError>> {
        (self.fault == Fault::BarePassing).then(|| self.inner.complete_now(h, o))?
    }

    async fn release(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        self.forget(&hold.id);
        self.inner.release(hold).await
    }

    async fn inspect(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        if let Some(written_back) = self.written_back.lock().expect("a lock").get(id) {
            return Ok(Some(written_back.clone()));
        }
        self.inner.inspect(id).await
    }

    fn subscribe(&self, id: &RecordId) -> Subscription {
        match self.fault {
            Fault::SilentRelease => {
                let never = Polling::every(Duration::from_secs(365 * 86_400));
                self.wakeups.subscribe(id, never)
            }
            _ => self.inner.subscribe(id),
        }
    }
}

/// Asserts that this function fails for a store with this fault.
macro_rules! finds {
    ($fault:ident, $function:path) => {{
        let store: Arc<dyn Store> = Arc::new(Delegate(Wrong {
            inner: MemoryStore::new(),
            fault: Fault::$fault,
            written_back: Mutex::default(),
            wakeups: Wakeups::default(),
        }));
        let found = tokio::spawn(async move { $function(&store).await }).await;
        assert!(
            found.is_err_and(|error| error.is_panic()),
            "{:?}",
            Fault::$fault
        );
    }};
}

#[tokio::test]
async fn each_fault_is_found() {
    finds!(
        StaleRenewal,
        conformance::renewal::a_renewal_undoes_no_completion
    );
    finds!(
        StaleRenewal,
        conformance::renewal::a_renewal_undoes_no_release
    );
    finds!(
        StaleRenewal,
        conformance::renewal::a_renewal_forgets_no_progress
    );
    finds!(OneLease, conformance::time::each_hold_has_its_own_times);
    finds!(OneTtl, conformance::time::each_hold_has_its_own_times);
    finds!(
        NoZero,
        conformance::time::a_lease_and_a_ttl_of_zero_are_over_at_once
    );
    finds!(
        ForgetfulWithdrawal,
        conformance::withdrawal::a_take_over_behind_its_withdrawal_takes_nothing
    );
    finds!(
        ForgetfulWithdrawal,
        conformance::withdrawal::a_key_remembers_several_spent_tokens
    );
    finds!(
        BarePassing,
        conformance::at_once::a_claim_without_a_future_learns_the_same
    );
    finds!(
        BarePassing,
        conformance::at_once::a_completion_without_a_future_stores_the_same
    );
    finds!(
        SilentRelease,
        conformance::waiting::an_end_in_this_process_wakes_at_once
    );
}
