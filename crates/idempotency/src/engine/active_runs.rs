//! The runs of this process whose holds are renewed, and for which a shutdown waits.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    runtime::{Handle, Id},
    sync::Notify,
    time::Instant,
};

use super::{
    heartbeat::Heartbeat,
    holds::{Held, Holds, Wake},
    withdrawals::Withdrawals,
};
use crate::{
    Fingerprint, Store,
    record::Token,
    store::{Hold, StoreError},
};

/// The requests under way, from the claim to the stored response.
pub(super) struct ActiveRuns {
    /// Whether the secret is being changed.
    pub(super) is_in_rotation: bool,
    // A plain lock: nothing is awaited under it.
    state: Mutex<State>,
    /// Notified when a run ends, and when the shutdown begins.
    left: Notify,
    pub(super) withdrawals: Withdrawals,
}

#[derive(Default)]
struct State {
    closed: bool,
    under_way: usize,
    /// The claims that wait to be withdrawn.
    withdrawing: usize,
    holds: Holds,
}

/// The longest time for which a run's hold is renewed, so that a run that hangs eventually releases its key.
pub(crate) const MAX_EXECUTION: Duration = Duration::from_secs(24 * 60 * 60);

/// One request under way. It ends when this is dropped.
pub(crate) struct RunGuard {
    runs: Arc<ActiveRuns>,
    store: Arc<dyn Store>,
    token: Option<Token>,
    /// Whether it only releases a key.
    withdraws: bool,
}

impl ActiveRuns {
    pub(super) fn new(is_in_rotation: bool) -> Self {
        Self {
            is_in_rotation,
            state: Mutex::default(),
            left: Notify::new(),
            withdrawals: Withdrawals::default(),
        }
    }

    /// Admits a request, unless the shutdown has begun.
    pub(super) fn enter(runs: &Arc<Self>, store: &Arc<dyn Store>) -> Option<RunGuard> {
        let mut state = runs.state.lock();
        if state.closed {
            return None;
        }
        state.under_way += 1;
        Some(RunGuard {
            runs: Arc::clone(runs),
            store: Arc::clone(store),
            token: None,
            withdraws: false,
        })
    }

    /// Admits what belongs to a request that was admitted before.
    pub(super) fn enter_background(runs: &Arc<Self>, store: &Arc<dyn Store>) -> RunGuard {
        runs.state.lock().under_way += 1;
        RunGuard {
            runs: Arc::clone(runs),
            store: Arc::clone(store),
            token: None,
            withdraws: false,
        }
    }

    /// Admits a claim that is to be withdrawn.
    pub(super) fn enter_withdrawal(runs: &Arc<Self>, store: &Arc<dyn Store>) -> RunGuard {
        runs.state.lock().withdrawing += 1;
        RunGuard {
            runs: Arc::clone(runs),
            store: Arc::clone(store),
            token: None,
            withdraws: true,
        }
    }

    /// Admits no request from now on.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.left.notify_waiters();
    }

    /// Returns once the shutdown has begun.
    pub(super) async fn closed(&self) {
        self.until(|state| state.closed).await;
    }

    /// Returns once every run has ended.
    pub(super) async fn ended(&self) {
        self.until(|state| state.under_way == 0).await;
    }

    /// Returns once no request is under way.
    pub(super) async fn idle(&self) {
        self.until(State::is_idle).await;
    }

    /// How many runs have not ended, and how many claims are not withdrawn.
    pub(super) fn unfinished(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.under_way, state.withdrawing)
    }

    async fn until(&self, reached: impl Fn(&State) -> bool) {
        loop {
            // Registered before the state is read, so that no change between the two is missed.
            let left = self.left.notified();
            if reached(&self.state.lock()) {
                return;
            }
            left.await;
        }
    }

    /// Notes the progress that a run is about to store.
    pub(super) fn note_progress(&self, token: &Token, progress: &Bytes) {
        if let Some(held) = self.state.lock().holds.get_mut(token) {
            held.progress = progress.clone();
        }
    }

    /// Notes the attempt number with which a run has claimed its key again. Returns false if the run has ended.
    pub(super) fn note_attempt(&self, token: &Token, attempt: u32) -> bool {
        let mut state = self.state.lock();
        let held = state.holds.get_mut(token);
        held.map(|held| held.attempt = attempt).is_some()
    }

    pub(super) fn progress_of(&self, token: &Token) -> Option<Bytes> {
        let state = self.state.lock();
        state.holds.get(token).map(|held| held.progress.clone())
    }

    /// Has a hold whose renewal failed renewed again before its next turn.
    pub(super) fn renew_soon(&self, hold: &Hold) {
        let due = Instant::now() + hold.lease / 10;
        self.state.lock().holds.bring_forward(&hold.token, due);
    }

    pub(super) fn is_held(&self, token: &Token) -> bool {
        let state = self.state.lock();
        let held = state.holds.get(token);
        held.is_some_and(|held| Instant::now() < held.until)
    }

    /// Stops renewing this hold. Returns false if it was not renewed.
    pub(super) fn give_up(&self, token: &Token) -> bool {
        self.state.lock().holds.remove(token)
    }

    /// The holds of a runtime that are due now, each deferred by a third of its lease; and when the next one is due.
    pub(super) fn take_due(&self, runtime: &Id) -> (Vec<(Hold, Fingerprint)>, Option<Instant>) {
        self.state.lock().holds.take_due(runtime, Instant::now())
    }

    /// Forgets a runtime that has ended.
    pub(super) fn forget(&self, runtime: &Id) {
        self.state.lock().holds.forget(runtime);
    }
}

impl State {
    fn is_idle(&self) -> bool {
        self.under_way == 0 && self.withdrawing == 0
    }
}

impl RunGuard {
    pub(super) fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// Claims the key again if the store has lost its record.
    pub(super) async fn reclaim(
        &self,
        hold: &Hold,
        fingerprint: &Fingerprint,
    ) -> Result<bool, StoreError> {
        // A run that is known to have lost its key does not claim it again.
        if !self.runs.is_held(&hold.token) {
            return Ok(false);
        }
        self.runs.reclaim(self.store(), hold, fingerprint).await
    }

    /// Stores the steps of the run again.
    pub(super) async fn restore_progress(&self, hold: &Hold) -> Result<(), StoreError> {
        self.runs.restore_progress(self.store(), hold).await
    }

    /// The number that the run's record has.
    pub(super) fn attempt(&self) -> u32 {
        let state = self.runs.state.lock();
        let held = self.token.and_then(|token| state.holds.get(&token));
        held.map_or(1, |held| held.attempt)
    }

    /// Renews the hold until the guard is dropped. Its lease counts from `sent_at`.
    ///
    /// One task renews the holds of all runs of a runtime: a handler that blocks its thread cannot starve its own
    /// renewal, and a run that ends within a third of its lease costs no timer. Returns whether the task was woken,
    /// because this hold is due before all others. The run then yields once before it begins: the task may be unable to
    /// run on the thread of a handler that blocks.
    pub(super) fn hold(
        &mut self,
        hold: Hold,
        fingerprint: Fingerprint,
        attempt: u32,
        progress: Bytes,
        sent_at: Instant,
    ) -> bool {
        // The run itself renews a hold that is due already, before the work begins.
        let counts_from = if hold.is_fresh(sent_at) {
            sent_at
        } else {
            Instant::now()
        };
        let held = Held {
            due: counts_from + hold.lease / 3,
            until: sent_at + MAX_EXECUTION,
            hold,
            fingerprint,
            attempt,
            progress,
            runtime: Handle::current().id(),
        };
        self.token = Some(held.hold.token);
        // Outside of the lock: a runtime that has ended drops the renewer at once, and that takes the lock.
        let wake = self.runs.state.lock().holds.insert(held);
        match wake {
            Wake::Start(earlier) => Heartbeat::start(&self.runs, &self.store, earlier),
            Wake::Notify(earlier) => earlier.notify_one(),
            Wake::Sleep => return false,
        }
        true
    }
}

impl Drop for RunGuard {
    fn drop(&mut self) {
        let mut state = self.runs.state.lock();
        if let Some(token) = self.token {
            state.holds.remove(&token);
        }
        if self.withdraws {
            state.withdrawing -= 1;
        } else {
            state.under_way -= 1;
        }
        if state.closed && state.under_way == 0 {
            self.runs.left.notify_waiters();
        }
    }
}

impl Drop for ActiveRuns {
    fn drop(&mut self) {
        // The renewers wake, and see that the engine is gone.
        self.state.get_mut().holds.wake_all();
    }
}
