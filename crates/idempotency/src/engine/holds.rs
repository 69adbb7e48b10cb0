//! The holds that are renewed, ordered by when they are due in each runtime.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use tokio::{runtime::Id, sync::Notify, time::Instant};

use crate::{
    Fingerprint,
    record::Token,
    store::{Hold, keyed_hash::KeyedHash},
};

#[derive(Default)]
pub(super) struct Holds {
    held: HashMap<Token, Held, KeyedHash>,
    /// Those of each runtime that has a renewer.
    queues: HashMap<Id, Queue, KeyedHash>,
}

/// The holds of one runtime, apart from the others so that its renewer reads only these.
#[derive(Default)]
struct Queue {
    due: BTreeSet<(Instant, Token)>,
    /// When the renewer wakes next; `None` while it has nothing to renew.
    wakes_at: Option<Instant>,
    /// Wakes the renewer for a hold that is due before that time.
    earlier: Arc<Notify>,
}

/// What the renewer has to do for a new hold.
pub(super) enum Wake {
    /// It has to be started, with this to wake it.
    Start(Arc<Notify>),
    /// It has to be woken.
    Notify(Arc<Notify>),
    /// Nothing.
    Sleep,
}

pub(super) struct Held {
    pub(super) hold: Hold,
    pub(super) fingerprint: Fingerprint,
    /// The attempt number of its record.
    pub(super) attempt: u32,
    /// The progress that the run has stored, or is about to store.
    pub(super) progress: Bytes,
    pub(super) due: Instant,
    pub(super) until: Instant,
    /// The runtime that drives its run.
    pub(super) runtime: Id,
}

impl Holds {
    pub(super) fn insert(&mut self, held: Held) -> Wake {
        let (token, due) = (held.hold.token, held.due);
        let is_first = !self.queues.contains_key(&held.runtime);
        let queue = self.queues.entry(held.runtime).or_default();
        queue.due.insert((due, token));
        let is_earlier = queue.wakes_at.is_none_or(|wakes_at| due < wakes_at);
        if is_earlier {
            queue.wakes_at = Some(due);
        }
        let earlier = Arc::clone(&queue.earlier);
        self.held.insert(token, held);
        match (is_first, is_earlier) {
            (true, _) => Wake::Start(earlier),
            (false, true) => Wake::Notify(earlier),
            (false, false) => Wake::Sleep,
        }
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, token: &Token) -> bool {
        let Some(held) = self.held.remove(token) else {
            return false;
        };
        if let Some(queue) = self.queues.get_mut(&held.runtime) {
            queue.due.remove(&(held.due, *token));
        }
        true
    }

    pub(super) fn get(&self, token: &Token) -> Option<&Held> {
        self.held.get(token)
    }

    /// Gives access to everything but when the hold is due.
    pub(super) fn get_mut(&mut self, token: &Token) -> Option<&mut Held> {
        self.held.get_mut(token)
    }

    /// Schedules the renewal of a hold, unless it is due earlier or no longer renewed. Wakes the renewer if it would
    /// sleep longer.
    pub(super) fn bring_forward(&mut self, token: &Token, due: Instant) {
        let Some(held) = self.held.get_mut(token) else {
            return;
        };
        let Some(queue) = self.queues.get_mut(&held.runtime) else {
            return;
        };
        if due >= held.due || !queue.due.remove(&(held.due, *token)) {
            return;
        }
        held.due = due;
        queue.due.insert((due, *token));
        if queue.wakes_at.is_none_or(|wakes_at| due < wakes_at) {
            queue.wakes_at = Some(due);
            queue.earlier.notify_one();
        }
    }

    /// The holds of a runtime that are due now, each deferred by a third of its lease; and when the next one is due.
    ///
    /// Holds that are due soon are included: with many runs, each would otherwise cost a wake of its own.
    pub(super) fn take_due(
        &mut self,
        runtime: &Id,
        now: Instant,
    ) -> (Vec<(Hold, Fingerprint)>, Option<Instant>) {
        let mut taken = Vec::new();
        let Some(queue) = self.queues.get_mut(runtime) else {
            return (taken, None);
        };
        while let Some(&(due, token)) = queue.due.first() {
            let Some(held) = self.held.get_mut(&token) else {
                unreachable!("what is due is held");
            };
            if due > now + held.hold.lease / 30 {
                break;
            }
            queue.due.pop_first();
            // A hold past its deadline is not scheduled again.
            if now < held.until {
                held.due = now + held.hold.lease / 3;
                queue.due.insert((held.due, token));
                taken.push((held.hold.clone(), held.fingerprint));
            }
        }
        queue.wakes_at = queue.due.first().map(|(due, _)| *due);
        (taken, queue.wakes_at)
    }

    /// Forgets a runtime that has ended, and its runs with it.
    pub(super) fn forget(&mut self, runtime: &Id) {
        self.queues.remove(runtime);
    }

    /// Lets every renewer see that there is nothing left to renew.
    pub(super) fn wake_all(&self) {
        let queues = self.queues.values();
        queues.for_each(|queue| queue.earlier.notify_one());
    }
}
