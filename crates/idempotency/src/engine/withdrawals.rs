//! Withdraws claims. One task withdraws those of a runtime, so that no crowd of calls hits the store when it recovers
//! from an outage.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use parking_lot::Mutex;
use tokio::{
    runtime::{Handle, Id},
    sync::mpsc::{self, Receiver, Sender, error::TrySendError},
    time::{Instant, sleep_until},
};
use tracing::Instrument;

use super::{
    active_runs::RunGuard, claim::SentClaim, finish::is_worth_a_retry,
    store_timeout::with_store_timeout,
};
use crate::{OnLost, log_text::Causes, random, store::StoreError};

/// Claims without a run, which wait to be withdrawn.
#[derive(Default)]
pub(super) struct Withdrawals {
    // A plain lock: nothing is awaited under it. The task owns the claims that it has received, so that they end with its
    // runtime; another runtime's task may not be driven.
    claims: Mutex<HashMap<Id, Sender<Pending>>>,
}

/// A claim that has not been withdrawn yet.
struct Pending {
    claim: SentClaim,
    until: Instant,
    /// Makes a shutdown wait for it.
    guard: Option<RunGuard>,
}

/// How long a withdrawal is retried, if the lease is shorter than this. A shutdown waits as long.
const MIN_INSISTENCE: Duration = Duration::from_secs(60);

/// How much longer it is retried where lost keys are not taken over, so that an outage makes no work for an operator.
const MAX_INSISTENCE: Duration = Duration::from_secs(3600);

/// How many withdrawals call the store concurrently; only one while the store fails.
const MAX_AT_ONCE: usize = 32;

/// How many claims may wait. Beyond that, which takes an outage, keys come free when their leases expire.
const MAX_PENDING: usize = 8192;

const MIN_PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(5);

impl Withdrawals {
    /// Has the claim withdrawn as soon as the store can do it.
    pub(super) fn push(&self, claim: SentClaim, guard: RunGuard, runtime: &Handle) {
        let pending = Pending {
            until: Instant::now() + claim.hold.lease.max(MIN_INSISTENCE),
            claim,
            guard: Some(guard),
        };
        let mut claims = self.claims.lock();
        let sent = match claims.get(&runtime.id()) {
            Some(claims) => claims.try_send(pending),
            None => Err(TrySendError::Closed(pending)),
        };
        let full = match sent {
            Ok(()) => return,
            Err(TrySendError::Full(pending)) => pending,
            // There is no task yet, or it ended with its runtime.
            Err(TrySendError::Closed(pending)) => {
                let (sender, receiver) = mpsc::channel(MAX_PENDING / 2);
                let sent = sender.try_send(pending);
                claims.retain(|_, sender| !sender.is_closed());
                claims.insert(runtime.id(), sender);
                runtime.spawn(withdraw_all(receiver).in_current_span());
                match sent {
                    Ok(()) => return,
                    Err(error) => error.into_inner(),
                }
            }
        };
        drop(claims);
        let error = StoreError::unavailable("too many claims wait to be withdrawn");
        warn(&full.claim, &error);
    }
}

async fn withdraw_all(mut claims: Receiver<Pending>) {
    let mut pending = VecDeque::new();
    let mut calls = FuturesUnordered::new();
    let mut is_open = true;
    let mut at_once = MAX_AT_ONCE;
    let mut pause = MIN_PAUSE;
    let mut resumes_at = None;
    loop {
        while resumes_at.is_none()
            && calls.len() < at_once
            && let Some(next) = pending.pop_front()
        {
            calls.push(withdraw(next));
        }
        let resumed = async {
            match resumes_at {
                Some(resumes_at) => sleep_until(resumes_at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Not by chance, so that a simulation can be repeated.
            biased;
            received = claims.recv(), if is_open && pending.len() < MAX_PENDING / 2 => match received {
                Some(received) => pending.push_back(received),
                None => is_open = false,
            },
            Some((withdrawn, response)) = calls.next() => match response {
                Ok(()) => {
                    at_once = (2 * at_once).min(MAX_AT_ONCE);
                    pause = MIN_PAUSE;
                }
                Err(error) if is_worth_a_retry(&error) => {
                    pending.extend(withdrawn.again(&error));
                    at_once = 1;
                    if resumes_at.is_none() {
                        // Spread out, so that processes do not retry at the same moment.
                        resumes_at = Some(Instant::now() + random::jittered(pause));
                        pause = (2 * pause).min(MAX_PAUSE);
                    }
                }
                Err(error) => warn(&withdrawn.claim, &error),
            },
            () = resumed, if resumes_at.is_some() => {
                resumes_at = None;
                // A shutdown waits no longer for claims that have had no turn than for the others.
                let waiting = std::mem::take(&mut pending);
                let silence = StoreError::unavailable("it failed until the deadline");
                pending.extend(waiting.into_iter().filter_map(|waiting| waiting.again(&silence)));
            }
            else => return,
        }
    }
}

async fn withdraw(pending: Pending) -> (Pending, Result<(), StoreError>) {
    let SentClaim {
        store,
        hold,
        fingerprint,
        ..
    } = &pending.claim;
    let response = with_store_timeout(store, store.withdraw(hold, fingerprint)).await;
    (pending, response)
}

impl Pending {
    /// A claim to retry, if there is time.
    fn again(mut self, error: &StoreError) -> Option<Self> {
        let now = Instant::now();
        if now < self.until {
            return Some(self);
        }
        if self.guard.take().is_some() && self.claim.on_lost == OnLost::Refuse {
            self.until = now + MAX_INSISTENCE;
            return Some(self);
        }
        warn(&self.claim, error);
        None
    }
}

fn warn(claim: &SentClaim, error: &StoreError) {
    tracing::warn!(
        idempotency.store = claim.store.name(),
        idempotency.record = %claim.hold.id,
        error = %Causes(error),
        "a claim could not be withdrawn; the key may be held until its lease expires",
    );
}
