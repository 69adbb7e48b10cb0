//! What is under way on one connection.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use axum::body::{Body, Bytes};
use parking_lot::Mutex;
use tokio::time::Instant;

/// How long a response may wait for its client to read more of it.
const MAX_UNREAD: Duration = Duration::from_secs(30);

/// The requests of one connection that have no complete response yet.
#[derive(Debug)]
pub(super) struct Activity(Mutex<State>);

#[derive(Debug)]
struct State {
    next: u64,
    exchanges: HashMap<u64, Weak<Mutex<Unread>>>,
    /// When the last of them ended.
    ended: Instant,
}

/// One request. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Exchange {
    activity: Arc<Activity>,
    number: u64,
    pub(super) unread: Arc<Mutex<Unread>>,
}

/// What the client has not read of a response.
#[derive(Debug)]
pub(super) struct Unread {
    pub(super) body: Body,
    /// Of the last frame.
    pub(super) rest: Bytes,
    /// Since when the client has read no more; `None` while the response is being made.
    pub(super) waits_since: Option<Instant>,
    /// Whether it was dropped, because the client took too long.
    pub(super) is_given_up: bool,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State {
            next: 0,
            exchanges: HashMap::new(),
            ended: Instant::now(),
        }))
    }

    /// A request has arrived.
    pub(super) fn begin(self: &Arc<Self>) -> Exchange {
        let unread = Arc::new(Mutex::new(Unread {
            body: Body::empty(),
            rest: Bytes::new(),
            waits_since: None,
            is_given_up: false,
        }));
        let mut state = self.0.lock();
        let number = state.next;
        state.next += 1;
        state.exchanges.insert(number, Arc::downgrade(&unread));
        Exchange {
            activity: Arc::clone(self),
            number,
            unread,
        }
    }

    /// Gives up responses that their client does not read, and returns for how long the connection has had no other request;
    /// `None` if it has one.
    ///
    /// Only the one response is given up, and not the connection, by which a gateway may send the requests of many clients.
    pub(super) fn idle(&self) -> Option<Duration> {
        let state = self.0.lock();
        let mut idle_since = state.ended;
        let mut is_idle = true;
        for unread in state.exchanges.values().filter_map(Weak::upgrade) {
            let mut unread = unread.lock();
            let Some(since) = unread.waits_since else {
                is_idle = false;
                continue;
            };
            if !unread.is_given_up {
                if since.elapsed() <= MAX_UNREAD {
                    is_idle = false;
                    continue;
                }
                unread.is_given_up = true;
                unread.body = Body::empty();
                unread.rest = Bytes::new();
                tracing::warn!(
                    seconds = MAX_UNREAD.as_secs(),
                    "a client does not read a response; the rest of it is dropped",
                );
            }
            idle_since = idle_since.max(since);
        }
        is_idle.then(|| idle_since.elapsed())
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut state = self.activity.0.lock();
        state.exchanges.remove(&self.number);
        state.ended = Instant::now();
    }
}
