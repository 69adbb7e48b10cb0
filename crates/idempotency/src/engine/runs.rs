//! What runs in this process right now: whose holds are renewed, and what a shutdown waits for.

use std::{collections::HashMap, sync::Arc, thread, time::Duration, time::Instant};

use parking_lot::{Condvar, Mutex};
use tokio::{runtime::Handle, sync::Notify};

use super::bounded;
use crate::{Fenced, Hold, Store, Token};

/// The requests under way, from claim to stored answer.
pub(super) struct Runs {
    shared: Arc<Shared>,
}

/// What the renewer's thread sees.
struct Shared {
    store: Arc<dyn Store>,
    // A plain lock: nothing is awaited under it.
    state: Mutex<State>,
    /// The renewer has to look earlier than it meant to.
    earlier: Condvar,
    /// Somebody left, or the door closed.
    left: Notify,
}

#[derive(Default)]
struct State {
    closed: bool,
    /// The engine is gone, and so is the renewer.
    ended: bool,
    under_way: usize,
    holds: HashMap<Token, Held>,
    /// When the renewer looks next; `None` while it has nothing to renew.
    wakes_at: Option<Instant>,
}

struct Held {
    hold: Hold,
    runtime: Handle,
    due: Instant,
    until: Instant,
}

/// No run is renewed for longer than this: one that hangs for ever gives its key up in the end.
const MOST_EXECUTION: Duration = Duration::from_secs(24 * 60 * 60);

/// One request under way; it leaves when dropped.
pub(super) struct Ticket {
    shared: Arc<Shared>,
    token: Option<Token>,
}

impl Runs {
    /// Starts the thread that says when a hold is due.
    ///
    /// One thread does so for all runs, and outside of the runtime: a handler that blocks its worker cannot starve
    /// its own renewal, and a run that ends within a third of its lease costs no timer. The renewals themselves are
    /// tasks.
    pub(super) fn start(store: Arc<dyn Store>) -> Self {
        let shared = Arc::new(Shared {
            store,
            state: Mutex::default(),
            earlier: Condvar::new(),
            left: Notify::new(),
        });
        let renewer = Arc::clone(&shared);
        thread::Builder::new()
            .name("idempotency-renewer".into())
            .spawn(move || renewer.renew_all())
            .expect("the system can start a thread");
        Self { shared }
    }

    /// Lets a request in, unless the door is closed.
    pub(super) fn enter(&self) -> Option<Ticket> {
        let mut state = self.shared.state.lock();
        if state.closed {
            return None;
        }
        state.under_way += 1;
        Some(Ticket {
            shared: Arc::clone(&self.shared),
            token: None,
        })
    }

    /// Lets nobody in any more.
    pub(super) fn close(&self) {
        self.shared.state.lock().closed = true;
        self.shared.left.notify_waiters();
    }

    /// Returns once the door is closed.
    pub(super) async fn closed(&self) {
        self.until(|state| state.closed).await;
    }

    /// Returns once nobody is under way.
    pub(super) async fn idle(&self) {
        self.until(|state| state.under_way == 0).await;
    }

    async fn until(&self, reached: impl Fn(&State) -> bool) {
        loop {
            // Made before the look, so that no change between the two is missed.
            let left = self.shared.left.notified();
            if reached(&self.shared.state.lock()) {
                return;
            }
            left.await;
        }
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        self.shared.state.lock().ended = true;
        self.shared.earlier.notify_one();
    }
}

impl Ticket {
    /// Has the hold renewed until the ticket is dropped.
    pub(super) fn hold(&mut self, hold: Hold) {
        let now = Instant::now();
        let held = Held {
            runtime: Handle::current(),
            due: now + hold.lease / 3,
            until: now + MOST_EXECUTION,
            hold,
        };
        let mut state = self.shared.state.lock();
        if state.wakes_at.is_none_or(|wakes_at| held.due < wakes_at) {
            state.wakes_at = Some(held.due);
            self.shared.earlier.notify_one();
        }
        self.token = Some(held.hold.token);
        state.holds.insert(held.hold.token, held);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        if let Some(token) = self.token {
            state.holds.remove(&token);
        }
        state.under_way -= 1;
        if state.closed && state.under_way == 0 {
            self.shared.left.notify_waiters();
        }
    }
}

impl Shared {
    fn renew_all(self: &Arc<Self>) {
        let mut state = self.state.lock();
        while !state.ended {
            let now = Instant::now();
            for held in state
                .holds
                .values_mut()
                .filter(|held| held.due <= now && now < held.until)
            {
                held.due = now + held.hold.lease / 3;
                // Each in its own task, so that a slow store delays no other renewal.
                held.runtime
                    .spawn(Arc::clone(self).renew(held.hold.clone()));
            }
            let living = state.holds.values().filter(|held| now < held.until);
            state.wakes_at = living.map(|held| held.due).min();
            match state.wakes_at {
                Some(wakes_at) => _ = self.earlier.wait_until(&mut state, wakes_at),
                None => self.earlier.wait(&mut state),
            }
        }
    }

    async fn renew(self: Arc<Self>, hold: Hold) {
        match bounded(self.store.renew(&hold)).await {
            Ok(Fenced::Done(())) => {}
            // Either the run has just ended, or somebody took over while the store was out of reach.
            Ok(Fenced::Lost) => {
                if self.state.lock().holds.remove(&hold.token).is_some() {
                    tracing::warn!(
                        idempotency.record = %hold.id,
                        "a run has lost its hold and can store nothing",
                    );
                }
            }
            Err(error) => tracing::warn!(
                idempotency.record = %hold.id,
                error = &error as &dyn std::error::Error,
                "a hold could not be renewed; the next try is in a third of its lease",
            ),
        }
    }
}
