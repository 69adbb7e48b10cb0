//! Ends a run's hold.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use futures_util::FutureExt;
use tokio::time::{Instant, timeout};
use tracing::Instrument;

use super::{
    Executed, Persist, WorkResult,
    active_runs::RunGuard,
    decision::{self, AfterRefusedEnd},
    metrics::StoreCall,
    store_timeout::{STORE_TIMEOUT, with_store_timeout},
};
use crate::{
    Fingerprint, Store,
    log_text::Causes,
    random,
    store::{Hold, IfOwner, StoreError, StoreErrorKind},
};

/// The hold of a run that has ended. It is renewed until this is dropped.
pub(super) struct Held {
    hold: Hold,
    fingerprint: Fingerprint,
    guard: RunGuard,
    /// Whether the store has said that the run no longer owns the hold, and the owner is not known yet.
    is_doubtful: Arc<AtomicBool>,
}

/// How long a client waits for a failing store to store its response. For a store that does not respond the client waits
/// longer, [`STORE_TIMEOUT`] in all: if the process died after sending a response that is not stored, a retry would run
/// again.
const RETRY_DELAYS: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(200)];

/// Completes the run without waiting, and returns when its record expires. In all other cases the run is still to be [finished](finish),
/// which repeats the completion if there was one.
pub(super) fn complete_at_once(
    store: &dyn Store,
    hold: &Hold,
    persist: &Persist,
) -> Option<SystemTime> {
    let Persist::Outcome(outcome) = persist else {
        return None;
    };
    let measured = StoreCall::start();
    let completed = match outcome.ttl {
        None => store.complete_now(hold, &outcome.bytes),
        Some(_) => store.complete_now(&outcome.hold(hold), &outcome.bytes),
    }?;
    measured.end(store.name(), &completed);
    match completed {
        Ok(IfOwner::Done(expires_at)) => Some(expires_at),
        Ok(IfOwner::NotOwner) | Err(_) => None,
    }
}

/// Ends the hold, and returns the response. A response that cannot be stored for now does not delay the client: it is
/// sent, and stored as soon as the store recovers. Until then the hold keeps other requests out.
pub(super) async fn finish<R>(held: Held, ending: WorkResult<R>) -> IfOwner<Executed<R>> {
    let WorkResult { response, persist } = ending;
    let executed = |expires_at| {
        IfOwner::Done(Executed {
            response,
            expires_at,
        })
    };
    let persist = match persist {
        Persist::AlreadyCommitted(expires_at) => return executed(Some(expires_at)),
        Persist::Superseded => return IfOwner::NotOwner,
        // The hold stays as it is, and keeps other requests out until its lease expires.
        Persist::OutcomeUnknown => {
            tokio::spawn(held.lapse().in_current_span());
            return executed(None);
        }
        // Nothing is stored for this response, so it need not wait for the steps.
        Persist::AfterSteps(settled) => {
            let end = async move {
                match settled.await {
                    Persist::OutcomeUnknown => held.lapse().await,
                    persist => held.end_later(persist, None).await,
                }
            };
            tokio::spawn(end.in_current_span());
            return executed(None);
        }
        Persist::Outcome(_) | Persist::Nothing | Persist::Steps(_) => persist,
    };
    let is_doubtful = Arc::clone(&held.is_doubtful);
    // A response that may not be the request's only one is not sent.
    let unheard = |executed: IfOwner<_>| {
        if is_doubtful.load(Ordering::Relaxed) {
            IfOwner::NotOwner
        } else {
            executed
        }
    };
    let mut ending = Box::pin(held.end_now(persist));
    let ended = match ending.as_mut().now_or_never() {
        Some(ended) => Ok(ended),
        None => timeout(STORE_TIMEOUT, &mut ending).await,
    };
    let Ok((held, persist, ended)) = ended else {
        let end = async move {
            let (held, persist, ended) = ending.await;
            held.end_later(persist, Some(ended)).await;
        };
        tokio::spawn(end.in_current_span());
        return unheard(executed(None));
    };
    match ended {
        Ok(IfOwner::Done(expires_at)) => executed(expires_at),
        Ok(IfOwner::NotOwner) => {
            // Its client gets the response of the run that took over.
            tracing::warn!(
                idempotency.store = held.guard.store().name(),
                idempotency.record = %held.hold.id,
                "a run outlived its lease and another one took over; its response is dropped",
            );
            IfOwner::NotOwner
        }
        Err(_) => {
            tokio::spawn(held.end_later(persist, None).in_current_span());
            unheard(executed(None))
        }
    }
}

impl Held {
    pub(super) fn new(hold: Hold, fingerprint: Fingerprint, guard: RunGuard) -> Self {
        Self {
            hold,
            fingerprint,
            guard,
            is_doubtful: Arc::default(),
        }
    }

    /// Completes the run, or releases its key: free, or suspended with the steps for the next attempt.
    async fn end(&self, persist: &Persist) -> Result<IfOwner<Option<SystemTime>>, StoreError> {
        let ended = self.end_own(persist).await?;
        if ended == IfOwner::NotOwner
            && matches!(
                decision::after_refused_end(persist),
                AfterRefusedEnd::Reclaim
            )
        {
            self.is_doubtful.store(true, Ordering::Relaxed);
            if Box::pin(self.guard.reclaim(&self.hold, &self.fingerprint)).await? {
                self.is_doubtful.store(false, Ordering::Relaxed);
                return Box::pin(self.end_own(persist)).await;
            }
        }
        Ok(ended)
    }

    async fn end_own(&self, persist: &Persist) -> Result<IfOwner<Option<SystemTime>>, StoreError> {
        let (store, hold) = (self.guard.store(), &self.hold);
        match persist {
            Persist::Outcome(outcome) => {
                let hold = &outcome.hold(hold);
                let complete = store.complete(hold, outcome.bytes.clone());
                Ok(with_store_timeout(store, complete).await?.map(Some))
            }
            Persist::Steps(progress) => {
                let progress = progress.suspended_by(self.guard.attempt());
                let suspend = store.suspend(hold, progress);
                Ok(with_store_timeout(store, suspend).await?.map(|()| None))
            }
            _ => {
                if with_store_timeout(store, store.release(hold)).await? == IfOwner::NotOwner {
                    // The client of a run that was taken over gets the new owner's response.
                    let found =
                        Box::pin(with_store_timeout(store, store.inspect(&hold.id))).await?;
                    if decision::owner(&hold.token, found.as_ref()) == IfOwner::NotOwner {
                        return Ok(IfOwner::NotOwner);
                    }
                    // A claim by which this run would get its key back may be in flight.
                    let withdraw = store.withdraw(hold, &self.fingerprint);
                    Box::pin(with_store_timeout(store, withdraw)).await?;
                }
                Ok(IfOwner::Done(None))
            }
        }
    }

    /// Ends the hold while the client waits.
    async fn end_now(
        self,
        persist: Persist,
    ) -> (
        Self,
        Persist,
        Result<IfOwner<Option<SystemTime>>, StoreError>,
    ) {
        let mut ended = self.end(&persist).await;
        for delay in RETRY_DELAYS {
            // A call on a new connection may succeed where a silent connection did not.
            if ended.as_ref().is_err_and(is_worth_a_retry) {
                // Boxed, because hardly any run gets here.
                Box::pin(tokio::time::sleep(delay)).await;
                ended = Box::pin(self.end(&persist)).await;
            }
        }
        (self, persist, ended)
    }

    /// Leaves the hold to its lease, once the store has the run's steps. The next attempt would repeat a step whose
    /// result is not stored.
    async fn lapse(self) {
        let kept =
            retry_until_lease_expires(self.hold.lease, || self.guard.restore_progress(&self.hold))
                .await;
        if let Err(error) = kept {
            tracing::error!(
                idempotency.store = self.guard.store().name(),
                idempotency.record = %self.hold.id,
                error = %Causes(&error),
                "the steps of a run could not be stored; a retry will do them again",
            );
        }
    }

    /// Ends the hold as soon as the store recovers, for a response that has been sent, unless the hold has just ended.
    async fn end_later(
        self,
        persist: Persist,
        ended: Option<Result<IfOwner<Option<SystemTime>>, StoreError>>,
    ) {
        let ended = match ended {
            Some(Ok(ended)) => Ok(ended),
            Some(Err(_)) | None => {
                retry_until_lease_expires(self.hold.lease, || self.end(&persist)).await
            }
        };
        match ended {
            Ok(IfOwner::NotOwner) if matches!(persist, Persist::Outcome(_)) => tracing::error!(
                idempotency.store = self.guard.store().name(),
                idempotency.record = %self.hold.id,
                "another run took the key over from one whose response was sent before it could be stored",
            ),
            Ok(_) => {}
            Err(error) => tracing::error!(
                idempotency.store = self.guard.store().name(),
                idempotency.record = %self.hold.id,
                error = %Causes(&error),
                "the end of a run could not be stored; a retry will run again",
            ),
        }
    }
}

/// Retries for this long, or until the store has responded.
pub(super) async fn retry_until_lease_expires<T, C>(
    time: Duration,
    mut call: impl FnMut() -> C,
) -> Result<T, StoreError>
where
    C: Future<Output = Result<T, StoreError>>,
{
    let end = Instant::now() + time;
    let mut pause = Duration::from_millis(500);
    loop {
        match call().await {
            Err(error) if is_worth_a_retry(&error) && Instant::now() < end => {
                // Spread out, where many runs retry.
                tokio::time::sleep(random::jittered(pause)).await;
            }
            response => return response,
        }
        pause = (2 * pause).min(Duration::from_secs(5));
    }
}

/// Whether the same call may succeed later. A record that cannot be read stays so: another version wrote it, and its run
/// holds the key by now, or it is damaged.
pub(super) fn is_worth_a_retry(error: &StoreError) -> bool {
    !matches!(
        error.kind(),
        StoreErrorKind::TooLarge | StoreErrorKind::Withdrawn | StoreErrorKind::Unreadable
    )
}
