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
use crate::record::{RecordId, Token};

/// The duplicates that wait in this process, by record: the part of a store that wakes them.
///
/// A store calls [`wake`](Self::wake) when it has ended a hold, or when a server notifies it that another process did,
/// and returns [`subscribe`](Self::subscribe) from [`Store::subscribe`](super::Store::subscribe).
#[derive(Clone, Default)]
pub struct Wakeups {
    // A plain lock: nothing is awaited under it, and the map is empty unless duplicates wait.
    waiting: Arc<Mutex<HashMap<RecordId, Waiters>>>,
}

struct Waiters {
    notify: Arc<Notify>,
    count: usize,
    /// The owner of the hold that a waiter's poll found.
    owner: Option<Token>,
}

impl Wakeups {
    /// A subscription that receives every [`wake`](Self::wake) of this id from now on.
    ///
    /// It also wakes on its own, as often as `polling` says: an owner that died wakes no waiter, and a server's
    /// notification may be lost, or the server may send none.
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

    /// Wakes every waiter on this id.
    pub fn wake(&self, id: &RecordId) {
        let waiting = self.waiting.lock();
        if waiting.is_empty() {
            return;
        }
        if let Some(waiters) = waiting.get(id) {
            waiters.notify.notify_waiters();
        }
    }

    /// Records the owner that a poll found, if there is one. If it changed, wakes every waiter on this id, so that one
    /// waiter's poll serves them all.
    ///
    /// For stores whose servers send no notifications.
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

    /// Whether there are waiters on this id, and so whether the store needs notifications for it.
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

/// One waiter's subscription to [`Wakeups`]; it ends when it is dropped.
pub struct Subscription {
    wakeups: Wakeups,
    id: RecordId,
    notify: Arc<Notify>,
    notified: Pin<Box<OwnedNotified>>,
    polling: Polling,
    pause: Duration,
}

impl Subscription {
    /// Returns once the record has changed since the subscription or the last call. It also returns now and then
    /// without a change, so read the record afterwards.
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
