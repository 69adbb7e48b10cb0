//! Both ends of a hold: how it is taken without being lost on the way, and how it ends.

use std::{
    error::Error,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use futures_util::future::BoxFuture;
use tokio::{runtime::Handle, time::Instant};
use tracing::Instrument;

use super::{Ending, Executed, Leaves, bounded, runs::Ticket};
use crate::{Claim, Fenced, Fingerprint, Hold, OnLost, Store, StoreError, StoreErrorKind};

/// A claim on its way. If its caller goes away, or it fails with the step perhaps taken, it is seen through
/// and given back: a hold that nobody works under would turn retries away until its lease lapses.
pub(super) struct Claiming {
    store: Arc<dyn Store>,
    hold: Hold,
    state: State,
}

enum State {
    Pending(BoxFuture<'static, Result<Claim, StoreError>>),
    Failed,
    Answered,
}

impl Claiming {
    pub(super) fn new(
        store: &Arc<dyn Store>,
        hold: &Hold,
        fingerprint: &Fingerprint,
        on_lost: OnLost,
    ) -> Self {
        let call = {
            let (store, hold, fingerprint) = (Arc::clone(store), hold.clone(), *fingerprint);
            Box::pin(async move { store.claim(&hold, &fingerprint, on_lost).await })
        };
        Self {
            store: Arc::clone(store),
            hold: hold.clone(),
            state: State::Pending(call),
        }
    }
}

impl Future for Claiming {
    type Output = Result<Claim, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let State::Pending(call) = &mut self.state else {
            panic!("a claim is not polled after its answer");
        };
        let answer = std::task::ready!(call.as_mut().poll(context));
        self.state = match &answer {
            // Whatever else a store says, it has taken no step.
            Err(error) if error.kind() == StoreErrorKind::Unavailable => State::Failed,
            _ => State::Answered,
        };
        Poll::Ready(answer)
    }
}

impl Drop for Claiming {
    fn drop(&mut self) {
        let state = std::mem::replace(&mut self.state, State::Answered);
        if matches!(state, State::Answered) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let (store, hold) = (Arc::clone(&self.store), self.hold.clone());
        runtime.spawn(async move {
            if let State::Pending(call) = state
                && let Ok(
                    Claim::InFlight { .. } | Claim::Unknown { .. } | Claim::Completed { .. },
                ) = call.await
            {
                return;
            }
            let given_back = insist(&hold, || bounded(store.release(&hold))).await;
            if let Err(error) = given_back {
                tracing::warn!(
                    idempotency.record = %hold.id,
                    error = &error as &dyn Error,
                    "a claim could not be given back; the key may be taken until its lease ends",
                );
            }
        });
    }
}

/// Ends the hold, and gives the answer back. An answer that cannot be stored for now does not keep the client
/// waiting: it is sent, and stored as soon as the store is back, while the hold still keeps everybody else out.
pub(super) async fn finish<R>(
    store: Arc<dyn Store>,
    hold: Hold,
    ending: Ending<R>,
    ticket: Ticket,
) -> Fenced<Executed<R>> {
    let Ending { answer, leaves } = ending;
    let leaves = match leaves {
        Leaves::Committed(expires_at) => {
            let expires_at = Some(expires_at);
            return Fenced::Done(Executed { answer, expires_at });
        }
        Leaves::Other => return Fenced::Lost,
        // The hold stays as it is, and with it everybody else out, until its lease lapses.
        Leaves::Unknown => {
            let expires_at = None;
            return Fenced::Done(Executed { answer, expires_at });
        }
        Leaves::Outcome(_) | Leaves::Nothing | Leaves::Steps(_) => leaves,
    };
    let mut ended = end(store.as_ref(), &hold, &leaves).await;
    for pause in SOON {
        if ended.is_err() {
            // In boxes, because hardly any run comes here.
            Box::pin(tokio::time::sleep(pause)).await;
            ended = Box::pin(end(store.as_ref(), &hold, &leaves)).await;
        }
    }
    let expires_at = match ended {
        Ok(Fenced::Done(expires_at)) => expires_at,
        Ok(Fenced::Lost) => {
            tracing::error!(
                idempotency.record = %hold.id,
                "a run outlived its lease and another one took over; its answer is dropped",
            );
            return Fenced::Lost;
        }
        Err(_) => {
            tokio::spawn(end_later(store, hold, leaves, ticket).in_current_span());
            None
        }
    };
    Fenced::Done(Executed { answer, expires_at })
}

/// How long a client waits for a store that fails to keep its answer.
const SOON: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(200)];

/// Completes the run, or gives its key back: free, or for an attempt that goes on with its steps.
async fn end(
    store: &dyn Store,
    hold: &Hold,
    leaves: &Leaves,
) -> Result<Fenced<Option<SystemTime>>, StoreError> {
    match leaves {
        Leaves::Outcome(outcome) => match bounded(store.complete(hold, outcome.clone())).await? {
            Fenced::Done(expires_at) => Ok(Fenced::Done(Some(expires_at))),
            Fenced::Lost => Ok(Fenced::Lost),
        },
        Leaves::Steps(progress) => {
            bounded(store.checkpoint(hold, progress.clone())).await?;
            // A hold that has lapsed is what the next attempt can take, with all that is in it.
            let lapsed = Hold {
                lease: Duration::ZERO,
                ..hold.clone()
            };
            bounded(store.renew(&lapsed)).await?;
            Ok(Fenced::Done(None))
        }
        // Whoever took over does not mind that this run has failed.
        _ => bounded(store.release(hold))
            .await
            .map(|_| Fenced::Done(None)),
    }
}

/// Ends the hold as soon as the store is back, for an answer that has been sent.
async fn end_later(store: Arc<dyn Store>, hold: Hold, leaves: Leaves, ticket: Ticket) {
    if let Err(error) = insist(&hold, || end(store.as_ref(), &hold, &leaves)).await {
        tracing::error!(
            idempotency.record = %hold.id,
            error = &error as &dyn Error,
            "the end of a run could not be stored; a retry will run again",
        );
    }
    // Until now the hold was renewed.
    drop(ticket);
}

/// Tries until the store has answered, or the hold has lapsed and what is not done by now is void.
pub(super) async fn insist<T, C>(hold: &Hold, mut call: impl FnMut() -> C) -> Result<T, StoreError>
where
    C: Future<Output = Result<T, StoreError>>,
{
    let lapsed = Instant::now() + hold.lease;
    let mut pause = Duration::from_millis(500);
    loop {
        match call().await {
            Err(error) if error.kind() != StoreErrorKind::TooLarge && Instant::now() < lapsed => {
                tokio::time::sleep(pause).await;
            }
            answer => return answer,
        }
        pause = (2 * pause).min(Duration::from_secs(5));
    }
}
