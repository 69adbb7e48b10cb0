//! The load: keep-alive connections that each send one request after another.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use uuid::Uuid;

use crate::request::{Request, find};

/// The kind of the requests.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) path: &'static str,
    pub(crate) keys: Keys,
}

#[derive(Clone)]
pub(crate) enum Keys {
    /// None.
    Absent,
    /// A new key for each request.
    Fresh,
    /// Completed keys, so that every response is a replay.
    Completed(Arc<[Uuid]>),
}

impl Load {
    /// No request has a key.
    pub(crate) const fn without_keys(path: &'static str) -> Self {
        let keys = Keys::Absent;
        Self { path, keys }
    }

    /// Each request has its own key.
    pub(crate) const fn fresh(path: &'static str) -> Self {
        let keys = Keys::Fresh;
        Self { path, keys }
    }
}

/// When a round ends.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    Requests(usize),
    Passed(Duration),
}

/// The result of a round.
pub(crate) struct Round {
    pub(crate) responses: usize,
    pub(crate) took: Duration,
    pub(crate) latencies: Vec<Duration>,
}

pub(crate) struct Client(Vec<Connection>);

impl Client {
    pub(crate) async fn connect(address: SocketAddr, connections: usize) -> Self {
        let mut client = Vec::new();
        for _ in 0..connections {
            let stream = TcpStream::connect(address).await.expect("a connection");
            stream.set_nodelay(true).expect("an option of the socket");
            let buffer = Vec::with_capacity(4096);
            client.push(Connection { stream, buffer });
        }
        Self(client)
    }

    /// Sends such requests on all connections at once.
    pub(crate) async fn send(&mut self, load: &Load, until: Until) -> Round {
        let begun = Instant::now();
        let sent = Arc::new(AtomicUsize::new(0));
        let mut running = JoinSet::new();
        for mut connection in self.0.drain(..) {
            let (load, sent) = (load.clone(), Arc::clone(&sent));
            let goes_on = move || {
                let sent = sent.fetch_add(1, Ordering::Relaxed);
                let goes_on = match until {
                    Until::Requests(most) => sent < most,
                    Until::Passed(time) => begun.elapsed() < time,
                };
                goes_on.then_some(sent)
            };
            running.spawn(async move {
                let latencies = connection.work(&load, goes_on).await;
                (connection, latencies)
            });
        }
        let mut latencies = Vec::new();
        for (connection, its_latencies) in running.join_all().await {
            self.0.push(connection);
            latencies.extend(its_latencies);
        }
        Round {
            responses: latencies.len(),
            took: begun.elapsed(),
            latencies,
        }
    }

    /// This many requests that have run, to be sent again.
    pub(crate) async fn replays(&mut self, path: &'static str, count: usize) -> Load {
        let connection = self.0.first_mut().expect("a client has a connection");
        let mut keys = Vec::new();
        let mut request = Request::under_keys(path);
        for _ in 0..count {
            let key = Uuid::new_v4();
            connection.exchange(request.under(key), false).await;
            keys.push(key);
        }
        let keys = Keys::Completed(keys.into());
        Load { path, keys }
    }
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn work(&mut self, load: &Load, goes_on: impl Fn() -> Option<usize>) -> Vec<Duration> {
        let mut request = match load.keys {
            Keys::Absent => Request::new(load.path, ""),
            Keys::Fresh | Keys::Completed(_) => Request::under_keys(load.path),
        };
        let mut latencies = Vec::new();
        while let Some(index) = goes_on() {
            let is_replay = matches!(load.keys, Keys::Completed(_));
            let bytes = match &load.keys {
                Keys::Absent => &request.bytes,
                Keys::Fresh => request.under(Uuid::new_v4()),
                Keys::Completed(keys) => request.under(keys[index % keys.len()]),
            };
            let begun = Instant::now();
            self.exchange(bytes, is_replay).await;
            latencies.push(begun.elapsed());
        }
        latencies
    }

    async fn exchange(&mut self, request: &[u8], is_replay: bool) {
        self.stream
            .write_all(request)
            .await
            .expect("a request sent");
        self.buffer.clear();
        let head = loop {
            self.read().await;
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end + 4;
            }
        };
        let fields = &self.buffer[..head];
        assert!(
            fields.starts_with(b"HTTP/1.1 201 "),
            "{}",
            String::from_utf8_lossy(fields)
        );
        let replayed = find(fields, b"\r\nidempotent-replayed: true\r\n").is_some();
        assert_eq!(replayed, is_replay, "whether a response is a replay");
        let whole = head + content_length(fields);
        while self.buffer.len() < whole {
            self.read().await;
        }
    }

    async fn read(&mut self) {
        let read = self.stream.read_buf(&mut self.buffer).await;
        assert_ne!(read.expect("a reply"), 0, "the server hung up");
    }
}

fn content_length(fields: &[u8]) -> usize {
    let name = b"\r\ncontent-length: ";
    let start = find(fields, name).expect("a response with a length") + name.len();
    let digits = fields[start..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |length, digit| 10 * length + usize::from(digit - b'0'))
}
