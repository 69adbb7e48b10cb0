//! The requests under way on one connection.

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::body::{Body, Bytes};
use http::Version;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::GRACE;

/// How long a response may wait for its client to read on.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The requests of one connection that have no complete response yet.
#[derive(Debug)]
pub(super) struct Activity(Mutex<State>);

#[derive(Debug)]
struct State {
    next: u64,
    exchanges: HashMap<u64, Watched>,
    /// When the last of them ended.
    ended: Instant,
    /// When the last HTTP/2 exchange ended. Its last bytes may wait for a window that only hyper knows.
    ended_by_http2: Option<Instant>,
}

#[derive(Debug)]
struct Watched {
    unread: Weak<Mutex<Unread>>,
    arrival: Arc<Arrival>,
}

/// The progress of a request.
#[derive(Debug, Default)]
pub(super) struct Arrival {
    /// Whether the service waits for the client to send more of it.
    pub(super) awaits_body: AtomicBool,
    /// When the head of its response was ready.
    pub(super) responded: OnceLock<Instant>,
}

impl Arrival {
    /// Whether there is no response yet because the client must first send more of the request.
    fn is_awaited(&self) -> bool {
        self.awaits_body.load(Ordering::Relaxed) && self.responded.get().is_none()
    }
}

/// One request. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) activity: Arc<Activity>,
    number: u64,
    version: Version,
    pub(super) unread: Arc<Mutex<Unread>>,
    pub(super) arrival: Arc<Arrival>,
}

/// The part of a response that the client has not read.
#[derive(Debug)]
pub(super) struct Unread {
    pub(super) body: Body,
    /// The rest of the last frame.
    pub(super) rest: Bytes,
    /// When the client stopped reading; `None` while the response is being made.
    pub(super) waits_since: Option<Instant>,
    /// Whether it was dropped because the client took too long.
    pub(super) is_given_up: bool,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State {
            next: 0,
            exchanges: HashMap::new(),
            ended: Instant::now(),
            ended_by_http2: None,
        }))
    }

    /// A request has arrived.
    pub(super) fn begin(self: &Arc<Self>, version: Version) -> Exchange {
        let unread = Arc::new(Mutex::new(Unread {
            body: Body::empty(),
            rest: Bytes::new(),
            waits_since: None,
            is_given_up: false,
        }));
        let arrival = Arc::new(Arrival::default());
        let mut state = self.0.lock();
        let number = state.next;
        state.next += 1;
        let watched = Watched {
            unread: Arc::downgrade(&unread),
            arrival: Arc::clone(&arrival),
        };
        state.exchanges.insert(number, watched);
        Exchange {
            activity: Arc::clone(self),
            number,
            version,
            unread,
            arrival,
        }
    }

    /// Whether closing the connection would lose no response: no request on it has arrived completely.
    pub(super) fn is_dispensable(&self) -> bool {
        let state = self.0.lock();
        let ended = state.ended_by_http2;
        let is_sending = ended.is_some_and(|ended| ended.elapsed() <= GRACE);
        let mut arrivals = state.exchanges.values().map(|exchange| &exchange.arrival);
        !is_sending && arrivals.all(|arrival| arrival.is_awaited())
    }

    /// Drops responses that their client does not read. Returns how long the connection has had no other request; `None` if it
    /// has one.
    ///
    /// Only that response is dropped, not the connection, which a gateway may use for the requests of many clients. During
    /// shutdown a client that does not read has less time.
    pub(super) fn idle(&self, is_stopping: bool) -> Option<Duration> {
        let max_unread = if is_stopping { GRACE } else { UNREAD_TIMEOUT };
        let state = self.0.lock();
        let mut idle_since = state.ended;
        let mut is_idle = true;
        let exchanges = state.exchanges.values();
        for unread in exchanges.filter_map(|exchange| exchange.unread.upgrade()) {
            let mut unread = unread.lock();
            let Some(since) = unread.waits_since else {
                is_idle = false;
                continue;
            };
            if !unread.is_given_up {
                if since.elapsed() <= max_unread {
                    is_idle = false;
                    continue;
                }
                unread.is_given_up = true;
                unread.body = Body::empty();
                unread.rest = Bytes::new();
                tracing::warn!(
                    seconds = max_unread.as_secs(),
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
        if self.version == Version::HTTP_2 {
            state.ended_by_http2 = Some(state.ended);
        }
    }
}
