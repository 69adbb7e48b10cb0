//! A wire between the measured process and its database, on which round trips are counted.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// What is a round trip in a protocol.
#[derive(Clone, Copy)]
pub(crate) enum Counts {
    /// The client speaks after the server has.
    Turns,
    /// The client opens a stream of HTTP/2, which is a call.
    Streams,
}

pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    counted: Arc<AtomicUsize>,
}

impl Wire {
    pub(crate) async fn to(server: SocketAddr, counts: Counts) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let counted = Arc::new(AtomicUsize::new(0));
        tokio::spawn({
            let counted = Arc::clone(&counted);
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(carry(client, server, counts, Arc::clone(&counted)));
                }
            }
        });
        Self { address, counted }
    }

    /// How many round trips there were since the last time it was asked.
    pub(crate) fn counted(&self) -> usize {
        self.counted.swap(0, Ordering::Relaxed)
    }
}

async fn carry(
    mut client: TcpStream,
    server: SocketAddr,
    counts: Counts,
    counted: Arc<AtomicUsize>,
) {
    let mut server = TcpStream::connect(server).await.expect("the database");
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut frames = Frames::default();
    let mut turned = true;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(length @ 1..) = read else { return };
                let count = match counts {
                    Counts::Turns => usize::from(std::mem::take(&mut turned)),
                    Counts::Streams => frames.streams(&asked[..length]),
                };
                counted.fetch_add(count, Ordering::Relaxed);
                server.write_all(&asked[..length]).await.expect("a request passed on");
            }
            read = server.read(&mut answered) => {
                let Ok(length @ 1..) = read else { return };
                turned = true;
                if client.write_all(&answered[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// The frames that a client sends, RFC 9113 section 4.1.
#[derive(Default)]
struct Frames {
    seen: Vec<u8>,
    greeted: bool,
}

impl Frames {
    /// How many streams these bytes open.
    fn streams(&mut self, bytes: &[u8]) -> usize {
        const PREFACE: usize = 24;
        const HEADER: usize = 9;
        const HEADERS: u8 = 1;
        self.seen.extend(bytes);
        if !self.greeted && self.seen.len() >= PREFACE {
            self.seen.drain(..PREFACE);
            self.greeted = true;
        }
        let mut streams = 0;
        while self.greeted && self.seen.len() >= HEADER {
            let length = u32::from_be_bytes([0, self.seen[0], self.seen[1], self.seen[2]]) as usize;
            if self.seen.len() < HEADER + length {
                break;
            }
            streams += usize::from(self.seen[3] == HEADERS);
            self.seen.drain(..HEADER + length);
        }
        streams
    }
}
