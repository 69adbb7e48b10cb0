//! How a hold ends.

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
    Ending, Executed, Leaves,
    bounded::{STORE_TIMEOUT, bounded},
    runs::Ticket,
};
use crate::{Fenced, Fingerprint, Hold, StoreError, StoreErrorKind, log_text::Causes};

/// The hold of a run that has ended. It is renewed until this is dropped.
pub(super) struct Held {
    hold: Hold,
    fingerprint: Fingerprint,
    ticket: Ticket,
    /// Whether the store has said that the hold is not the run's own any more, and not yet whose it is.
    is_doubtful: Arc<AtomicBool>,
}

/// How long a client waits for a store that fails to keep its response. For one that is silent it waits longer, for
/// [`STORE_TIMEOUT`] in all: should the process die after a response was sent that is not stored, a retry would run again.
const RETRY_DELAYS: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(200)];

/// Ends the hold, and gives the response back. A response that cannot be stored for now does not keep the client
/// waiting: it is sent, and stored as soon as the store is back, while the hold still keeps everybody else out.
pub(super) async fn finish<R>(held: Held, ending: Ending<R>) -> Fenced<Executed<R>> {
    let Ending { answer, leaves } = ending;
    let executed = |expires_at| Fenced::Done(Executed { answer, expires_at });
    let leaves = match leaves {
        Leaves::Committed(expires_at) => return executed(Some(expires_at)),
        Leaves::Other => return Fenced::Lost,
        // The hold stays as it is, and with it everybody else out, until its lease lapses.
        Leaves::Unknown => {
            tokio::spawn(held.lapse().in_current_span());
            return executed(None);
        }
        // The response stands for nothing that is stored, so it need not wait for the steps.
        Leaves::AfterSteps(settled) => {
            let end = async move {
                match settled.await {
                    Leaves::Unknown => held.lapse().await,
                    leaves => held.end_later(leaves, None).await,
                }
            };
            tokio::spawn(end.in_current_span());
            return executed(None);
        }
        Leaves::Outcome(_) | Leaves::Nothing | Leaves::Steps(_) => leaves,
    };
    let is_doubtful = Arc::clone(&held.is_doubtful);
    // What is not known to be the request's only response is not sent.
    let unheard = |executed: Fenced<_>| match is_doubtful.load(Ordering::Relaxed) {
        true => Fenced::Lost,
        false => executed,
    };
    let mut ending = Box::pin(held.end_now(leaves));
    let ended = match ending.as_mut().now_or_never() {
        Some(ended) => Ok(ended),
        None => timeout(STORE_TIMEOUT, &mut ending).await,
    };
    let Ok((held, leaves, ended)) = ended else {
        let end = async move {
            let (held, leaves, ended) = ending.await;
            held.end_later(leaves, Some(ended)).await;
        };
        tokio::spawn(end.in_current_span());
        return unheard(executed(None));
    };
    match ended {
        Ok(Fenced::Done(expires_at)) => executed(expires_at),
        Ok(Fenced::Lost) => {
            // Its client gets the response of the run that took over.
            tracing::warn!(
                idempotency.record = %held.hold.id,
                "a run outlived its lease and another one took over; its response is dropped",
            );
            Fenced::Lost
        }
        Err(_) => {
            tokio::spawn(held.end_later(leaves, None).in_current_span());
            unheard(executed(None))
        }
    }
}

impl Held {
    pub(super) fn new(hold: Hold, fingerprint: Fingerprint, ticket: Ticket) -> Self {
        Self {
            hold,
            fingerprint,
            ticket,
            is_doubtful: Arc::default(),
        }
    }

    /// Completes the run, or gives its key back: free, or for an attempt that goes on with its steps.
    async fn end(&self, leaves: &Leaves) -> Result<Fenced<Option<SystemTime>>, StoreError> {
        let ended = self.end_own(leaves).await?;
        let is_kept = matches!(leaves, Leaves::Outcome(_) | Leaves::Steps(_));
        if ended == Fenced::Lost && is_kept {
            self.is_doubtful.store(true, Ordering::Relaxed);
            if Box::pin(self.ticket.reclaim(&self.hold, &self.fingerprint)).await? {
                self.is_doubtful.store(false, Ordering::Relaxed);
                return Box::pin(self.end_own(leaves)).await;
            }
        }
        Ok(ended)
    }

    async fn end_own(&self, leaves: &Leaves) -> Result<Fenced<Option<SystemTime>>, StoreError> {
        let (store, hold) = (self.ticket.store(), &self.hold);
        match leaves {
            Leaves::Outcome(outcome) => {
                match bounded(store.complete(hold, outcome.clone())).await? {
                    Fenced::Done(expires_at) => Ok(Fenced::Done(Some(expires_at))),
                    Fenced::Lost => Ok(Fenced::Lost),
                }
            }
            Leaves::Steps(progress) => {
                let progress = progress.suspended_by(self.ticket.attempt());
                match bounded(store.suspend(hold, progress)).await? {
                    Fenced::Done(()) => Ok(Fenced::Done(None)),
                    Fenced::Lost => Ok(Fenced::Lost),
                }
            }
            _ => {
                if bounded(store.release(hold)).await? == Fenced::Lost {
                    // The client of a run that was taken over gets the response of the one that counts.
                    let found = Box::pin(bounded(store.inspect(&hold.id))).await?;
                    if found.is_some_and(|record| record.token != hold.token) {
                        return Ok(Fenced::Lost);
                    }
                    // A claim may be on its way by which this run was to get its key back.
                    let withdraw = store.withdraw(hold, &self.fingerprint);
                    Box::pin(bounded(withdraw)).await?;
                }
                Ok(Fenced::Done(None))
            }
        }
    }

    /// Ends the hold while the client waits.
    async fn end_now(
        self,
        leaves: Leaves,
    ) -> (Self, Leaves, Result<Fenced<Option<SystemTime>>, StoreError>) {
        let mut ended = self.end(&leaves).await;
        for delay in RETRY_DELAYS {
            // After a dark connection the next one can do better.
            if ended.as_ref().is_err_and(is_worth_a_retry) {
                // In boxes, because hardly any run comes here.
                Box::pin(tokio::time::sleep(delay)).await;
                ended = Box::pin(self.end(&leaves)).await;
            }
        }
        (self, leaves, ended)
    }

    /// Leaves the hold to its lease, once the store has the steps of the run: one whose result it has not taken yet would be done
    /// again by the next attempt.
    async fn lapse(self) {
        let kept = insist(self.hold.lease, || self.ticket.restore_progress(&self.hold)).await;
        if let Err(error) = kept {
            tracing::error!(
                idempotency.record = %self.hold.id,
                error = %Causes(&error),
                "the steps of a run could not be stored; a retry will do them again",
            );
        }
    }

    /// Ends the hold as soon as the store is back, for a response that has been sent; unless it has ended just now.
    async fn end_later(
        self,
        leaves: Leaves,
        ended: Option<Result<Fenced<Option<SystemTime>>, StoreError>>,
    ) {
        let ended = match ended {
            Some(Ok(ended)) => Ok(ended),
            Some(Err(_)) | None => insist(self.hold.lease, || self.end(&leaves)).await,
        };
        match ended {
            Ok(Fenced::Lost) if matches!(leaves, Leaves::Outcome(_)) => tracing::error!(
                idempotency.record = %self.hold.id,
                "another run took the key over from one whose response was sent before it could be stored",
            ),
            Ok(_) => {}
            Err(error) => tracing::error!(
                idempotency.record = %self.hold.id,
                error = %Causes(&error),
                "the end of a run could not be stored; a retry will run again",
            ),
        }
    }
}

/// Tries until the store has responded, or this time is over.
pub(super) async fn insist<T, C>(
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
                // Not all at the same moment, where many of them insist.
                tokio::time::sleep(pause.mul_f32(rand::random_range(0.5..1.0))).await;
            }
            response => return response,
        }
        pause = (2 * pause).min(Duration::from_secs(5));
    }
}

/// Whether the same call may succeed at another time.
pub(super) fn is_worth_a_retry(error: &StoreError) -> bool {
    !matches!(
        error.kind(),
        StoreErrorKind::TooLarge | StoreErrorKind::Withdrawn
    )
}
