use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{Notify, futures::OwnedNotified},
    time::timeout,
};

use super::Polling;
use crate::{RecordId, Token};

/// Who waits for which record in this process: the part of a store that wakes duplicates.
///
/// A store calls [`wake`](Self::wake) when it has ended a hold, or when a server tells it that somebody
/// else did, and returns [`subscribe`](Self::subscribe) from [`Store::subscribe`](super::Store::subscribe).
#[derive(Clone, Default)]
pub struct Wakeups {
    // A plain lock: nothing is awaited under it, and it is empty unless duplicates wait.
    waiting: Arc<Mutex<HashMap<RecordId, Waiters>>>,
}

struct Waiters {
    notify: Arc<Notify>,
    count: usize,
    /// Whose the hold was when one of them looked.
    owner: Option<Token>,
}

impl Wakeups {
    /// A listener that hears every [`wake`](Self::wake) of this id from now on.
    ///
    /// It also wakes without one, as often as `polling` says: an owner that died wakes nobody, and a server's
    /// notification may be lost, or there is none.
    #[must_use]
    pub fn subscribe(&self, id: &RecordId, polling: Polling) -> Subscription {
        let notify = {
            let mut waiting = self.waiting.lock();
            let waiters = waiting.entry(*id).or_insert_with(|| Waiters {
                notify: Arc::new(Notify::new()),
                count: 0,
                owner: None,
            });
            waiters.count += 1;
            Arc::clone(&waiters.notify)
        };
        // `notify_waiters` reaches each future that was made before it, polled or not.
        let notified = Box::pin(Arc::clone(&notify).notified_owned());
        Subscription {
            wakeups: self.clone(),
            id: *id,
            notify,
            notified,
            polling,
            pause: polling.first(),
        }
    }

    /// Wakes everybody who waits for this id.
    pub fn wake(&self, id: &RecordId) {
        let waiting = self.waiting.lock();
        if waiting.is_empty() {
            return;
        }
        if let Some(waiters) = waiting.get(id) {
            waiters.notify.notify_waiters();
        }
    }

    /// Takes note of whose hold a look has shown, if there is one. If it was another one's before, everybody who waits
    /// for this id is woken: what one of them has found out by looking, the others need not find out for themselves.
    ///
    /// For stores whose servers do not tell.
    pub fn saw(&self, id: &RecordId, owner: Option<&Token>) {
        let mut waiting = self.waiting.lock();
        if waiting.is_empty() {
            return;
        }
        if let Some(waiters) = waiting.get_mut(id)
            && waiters.owner.as_ref() != owner
        {
            let is_change = waiters.owner.is_some();
            waiters.owner = owner.copied();
            if is_change {
                waiters.notify.notify_waiters();
            }
        }
    }

    /// Whether anybody waits for this id, and so whether a server need be listened to.
    #[must_use]
    pub fn is_waited_for(&self, id: &RecordId) -> bool {
        self.waiting.lock().contains_key(id)
    }

    fn leave(&self, id: &RecordId) {
        if let Entry::Occupied(mut waiters) = self.waiting.lock().entry(*id) {
            waiters.get_mut().count -= 1;
            if waiters.get().count == 0 {
                waiters.remove();
            }
        }
    }
}

impl fmt::Debug for Wakeups {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Wakeups")
            .field("waiting", &self.waiting.lock().len())
            .finish()
    }
}

/// One listener of [`Wakeups`]; it stops listening when it is dropped.
pub struct Subscription {
    wakeups: Wakeups,
    id: RecordId,
    notify: Arc<Notify>,
    notified: Pin<Box<OwnedNotified>>,
    polling: Polling,
    pause: Duration,
}

impl Subscription {
    /// Returns once the record has changed since the subscription or since the last call, and now and
    /// then without a change. Read the record afterwards, do not guess.
    pub async fn changed(&mut self) {
        let woken = timeout(self.pause, self.notified.as_mut()).await.is_ok();
        self.pause = if woken {
            self.notified.set(Arc::clone(&self.notify).notified_owned());
            self.polling.first()
        } else {
            self.polling.behind(self.pause)
        };
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.wakeups.leave(&self.id);
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Subscription")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
