//! A proxy between a store and its server that drops or delays traffic as a test says.

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

/// A port that leads to a server until the test's runtime ends.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

/// How the dark period of a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DarkEnd {
    /// Data that was sent meanwhile arrives late.
    Delivered,
    /// Data that was sent meanwhile never arrives: both ends are closed.
    Cut,
}

/// When a reply is passed on: at this time, or once all traffic is let through again.
#[derive(Clone, Copy, Debug)]
struct Due {
    at: Instant,
    rushes: usize,
}

#[derive(Debug)]
struct Shared {
    server: Mutex<SocketAddr>,
    loses_reply: AtomicBool,
    lost_replies: AtomicUsize,
    /// A request that contains this gets no reply.
    lost_with: Mutex<Option<&'static [u8]>>,
    /// A request that contains this is the last data that its connection lets through.
    silenced_with: Mutex<Option<&'static [u8]>>,
    /// The delays of the next replies, one each.
    delays: Mutex<VecDeque<Duration>>,
    delayed: AtomicUsize,
    /// How often all delayed traffic has been let through at once.
    rush: watch::Sender<usize>,
    /// The open connections, perhaps with some that have closed.
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
            lost_replies: AtomicUsize::new(0),
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

    /// The port that clients connect to.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets the next request through, drops the reply to it, and cuts that connection.
    pub fn lose_the_next_reply(&self) {
        self.shared.loses_reply.store(true, Ordering::SeqCst);
    }

    /// The same for the next request that contains this.
    pub fn lose_the_reply_to(&self, request: &'static [u8]) {
        *self.shared.lost_with.lock() = Some(request);
    }

    /// Delays the next replies, on any connection, each by one of these times. Those that follow on the same
    /// connection stay after it. Delays from an earlier call that are not used up are dropped.
    pub fn delay_the_next_replies(&self, by: impl IntoIterator<Item = Duration>) {
        *self.shared.delays.lock() = by.into_iter().collect();
    }

    /// How many replies have been lost so far.
    #[must_use]
    pub fn lost_replies(&self) -> usize {
        self.shared.lost_replies.load(Ordering::SeqCst)
    }

    /// How many replies have been delayed so far.
    #[must_use]
    pub fn delayed_replies(&self) -> usize {
        self.shared.delayed.load(Ordering::SeqCst)
    }

    /// Lets no more data through on the existing connections, and keeps them open.
    pub fn silence(&self) {
        self.shared.darken(|| true);
    }

    /// Lets the next request that contains this through, and no more data on its connection, which stays open.
    pub fn silence_behind(&self, request: &'static [u8]) {
        *self.shared.silenced_with.lock() = Some(request);
    }

    /// Lets no data through for a while, in either direction, on the connections that are chosen, and keeps them
    /// open. Neither end learns meanwhile that the other has closed. Returns how many were chosen.
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

    /// Lets through at once all traffic that [`delay_the_next_replies`](Self::delay_the_next_replies) and
    /// [`darken`](Self::darken) hold back, and delays none from now on.
    pub fn let_everything_through(&self) {
        self.shared.delays.lock().clear();
        self.shared.rush.send_modify(|times| *times += 1);
    }

    /// Leads new connections to another server. Existing ones stay.
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
    /// The connections that were open and chosen.
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

    /// When a reply that arrives now is to be passed on.
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
