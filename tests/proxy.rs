//! Something between a store and its server that loses or holds up what it is told to.

mod line;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::AbortHandle,
    time::{Instant, sleep, sleep_until},
};

use line::{Line, Passage};

/// A port that leads to a server, until the runtime of its test ends.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

/// How the dark time of a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DarkEnd {
    /// What was sent meanwhile arrives, late.
    Delivered,
    /// It never arrives: both ends are closed.
    Cut,
}

/// When a reply is passed on: then, or once everything is let through again.
#[derive(Clone, Copy, Debug)]
struct Due {
    at: Instant,
    rushes: usize,
}

#[derive(Debug)]
struct Shared {
    server: Mutex<SocketAddr>,
    loses_reply: AtomicBool,
    /// A request with this in it gets no reply.
    lost_with: Mutex<Option<&'static [u8]>>,
    /// A request with this in it is the last thing that its connection lets through.
    silenced_with: Mutex<Option<&'static [u8]>>,
    /// By how much the next replies are late, one each.
    delays: Mutex<VecDeque<Duration>>,
    delayed: AtomicUsize,
    /// How often everything that was held back has been let through at once.
    rush: watch::Sender<usize>,
    /// The connections that are open, perhaps with some that are not any more.
    passages: Mutex<Vec<watch::Sender<Passage>>>,
}

impl Proxy {
    /// A port that leads to this server.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared {
            server: Mutex::new(server),
            loses_reply: AtomicBool::new(false),
            lost_with: Mutex::default(),
            silenced_with: Mutex::default(),
            delays: Mutex::default(),
            delayed: AtomicUsize::new(0),
            rush: watch::Sender::new(0),
            passages: Mutex::default(),
        });
        let accepting = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    let line = Line::new(&shared);
                    tokio::spawn(line.pass(client));
                }
            }
        });
        Self {
            address,
            shared,
            accepting: accepting.abort_handle(),
        }
    }

    /// Where clients connect to.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets the next request through, drops the reply to it, and cuts that connection.
    pub fn lose_the_next_reply(&self) {
        self.shared.loses_reply.store(true, Ordering::SeqCst);
    }

    /// The same for the next request that has this in it.
    pub fn lose_the_reply_to(&self, request: &'static [u8]) {
        *self.shared.lost_with.lock() = Some(request);
    }

    /// Holds up the next replies, on whatever connection they come, each by one of these times; those that follow on the
    /// same connection stay behind it. What was ordered before and is not used up is forgotten.
    pub fn delay_the_next_replies(&self, by: impl IntoIterator<Item = Duration>) {
        *self.shared.delays.lock() = by.into_iter().collect();
    }

    /// How many replies have been held up so far.
    #[must_use]
    pub fn delayed_replies(&self) -> usize {
        self.shared.delayed.load(Ordering::SeqCst)
    }

    /// Lets nothing more through on the connections that are there, and keeps them open.
    pub fn silence(&self) {
        self.shared.darken(|| true);
    }

    /// Lets the next request with this in it through, and nothing more on its connection, which stays open.
    pub fn silence_behind(&self, request: &'static [u8]) {
        *self.shared.silenced_with.lock() = Some(request);
    }

    /// Lets nothing through for a while, in either direction, on those of the connections that are chosen, and keeps them
    /// open. Neither end hears meanwhile that the other one has gone. Returns how many were chosen.
    pub fn darken(&self, time: Duration, end: DarkEnd, choose: impl FnMut() -> bool) -> usize {
        let dark = self.shared.darken(choose);
        let count = dark.len();
        let mut rush = self.shared.rush.subscribe();
        tokio::spawn(async move {
            let is_early = tokio::select! {
                () = sleep(time) => false,
                rushed = rush.changed() => rushed.is_ok(),
            };
            let passage = match end {
                DarkEnd::Cut if !is_early => Passage::Cut,
                DarkEnd::Cut | DarkEnd::Delivered => Passage::Open,
            };
            for line in dark {
                line.send_replace(passage);
            }
        });
        count
    }

    /// Lets everything through at once that [`delay_the_next_replies`](Self::delay_the_next_replies) and
    /// [`darken`](Self::darken) hold back, and holds nothing back from now on.
    pub fn let_everything_through(&self) {
        self.shared.delays.lock().clear();
        self.shared.rush.send_modify(|times| *times += 1);
    }

    /// Leads new connections somewhere else. Those that are there stay where they are.
    pub fn lead_to(&self, server: SocketAddr) {
        *self.shared.server.lock() = server;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    /// Those that were open and chosen.
    fn darken(&self, mut choose: impl FnMut() -> bool) -> Vec<watch::Sender<Passage>> {
        let mut passages = self.passages.lock();
        passages.retain(|passage| !passage.is_closed());
        let chosen = passages.iter().filter(|passage| {
            *passage.borrow() == Passage::Open && choose() && {
                passage.send_replace(Passage::Dark);
                true
            }
        });
        chosen.cloned().collect()
    }

    /// When a reply is to be passed on that has come now.
    fn due(&self) -> Due {
        let delay = self.delays.lock().pop_front();
        if delay.is_some() {
            self.delayed.fetch_add(1, Ordering::SeqCst);
        }
        Due {
            at: Instant::now() + delay.unwrap_or_default(),
            rushes: *self.rush.borrow(),
        }
    }

    async fn hold_until(&self, due: Due) {
        if due.at > Instant::now() {
            let mut rush = self.rush.subscribe();
            tokio::select! {
                () = sleep_until(due.at) => {}
                _ = rush.wait_for(|&rushes| rushes != due.rushes) => {}
            }
        }
    }
}
