//! A wire between the service and its server, on which round trips are counted.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::server::runtime;

/// How requests are distinguished from other data.
#[derive(Clone, Copy)]
pub(crate) enum Protocol {
    /// A group of messages that needs a reply ends with a message of a certain kind.
    Postgres,
    /// Every command is a list of texts.
    Redis,
    /// Every call is a stream, which one frame of headers opens.
    Http2,
}

pub(crate) struct Wire {
    address: SocketAddr,
    trips: Arc<AtomicU64>,
}

impl Wire {
    /// A wire to this server, on its own thread: the measuring client keeps its thread busy.
    pub(crate) fn start(server: SocketAddr, protocol: Protocol) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let trips = Arc::new(AtomicU64::new(0));
        thread::spawn({
            let trips = Arc::clone(&trips);
            move || runtime(1).block_on(accept(protocol, listener, server, trips))
        });
        Self { address, trips }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many round trips there have been.
    pub(crate) fn trips(&self) -> u64 {
        self.trips.load(Ordering::SeqCst)
    }
}

async fn accept(
    protocol: Protocol,
    listener: TcpListener,
    server: SocketAddr,
    trips: Arc<AtomicU64>,
) {
    listener
        .set_nonblocking(true)
        .expect("an option of the socket");
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(carry(protocol, client, server, Arc::clone(&trips)));
    }
}

async fn carry(protocol: Protocol, client: TcpStream, server: SocketAddr, trips: Arc<AtomicU64>) {
    let server = TcpStream::connect(server).await.expect("a server");
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("an option of the socket");
    }
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, to_server) = server.into_split();
    // When one direction ends, so does the other.
    tokio::select! {
        _ = up(protocol, from_client, to_server, &trips) => {}
        _ = copy(&mut from_server, &mut to_client) => {}
    }
}

async fn up(
    protocol: Protocol,
    from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    trips: &AtomicU64,
) -> io::Result<()> {
    let mut from = BufReader::new(from);
    let mut bytes = Vec::new();
    greet(protocol, &mut from, &mut bytes).await?;
    loop {
        to.write_all(&bytes).await?;
        bytes.clear();
        if read(protocol, &mut from, &mut bytes).await? {
            trips.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Reads the data before the first request.
async fn greet(
    protocol: Protocol,
    from: &mut BufReader<OwnedReadHalf>,
    bytes: &mut Vec<u8>,
) -> io::Result<()> {
    match protocol {
        Protocol::Postgres => {
            let length = head::<4>(from, bytes).await?;
            more(from, bytes, u32::from_be_bytes(length) - 4).await
        }
        Protocol::Redis => Ok(()),
        Protocol::Http2 => more(from, bytes, 24).await,
    }
}

/// Reads one message, and returns whether a round trip begins with it.
async fn read(
    protocol: Protocol,
    from: &mut BufReader<OwnedReadHalf>,
    bytes: &mut Vec<u8>,
) -> io::Result<bool> {
    match protocol {
        Protocol::Postgres => {
            let [kind, length @ ..] = head::<5>(from, bytes).await?;
            more(from, bytes, u32::from_be_bytes(length) - 4).await?;
            // A query, or a sync after the messages of a prepared one.
            Ok(matches!(kind, b'Q' | b'S'))
        }
        Protocol::Redis => {
            for _ in 0..number(from, bytes).await? {
                let length = number(from, bytes).await?;
                more(from, bytes, length + 2).await?;
            }
            Ok(true)
        }
        Protocol::Http2 => {
            let [a, b, c, kind, ..] = head::<9>(from, bytes).await?;
            more(from, bytes, u32::from_be_bytes([0, a, b, c])).await?;
            Ok(kind == 1)
        }
    }
}

async fn head<const LENGTH: usize>(
    from: &mut BufReader<OwnedReadHalf>,
    bytes: &mut Vec<u8>,
) -> io::Result<[u8; LENGTH]> {
    let mut head = [0; LENGTH];
    from.read_exact(&mut head).await?;
    bytes.extend(head);
    Ok(head)
}

async fn more(
    from: &mut BufReader<OwnedReadHalf>,
    bytes: &mut Vec<u8>,
    length: u32,
) -> io::Result<()> {
    let start = bytes.len();
    bytes.resize(start + length as usize, 0);
    from.read_exact(&mut bytes[start..]).await.map(drop)
}

/// A line of Redis: a sign, a number and its end.
async fn number(from: &mut BufReader<OwnedReadHalf>, bytes: &mut Vec<u8>) -> io::Result<u32> {
    let start = bytes.len();
    from.read_until(b'\n', bytes).await?;
    let text = str::from_utf8(&bytes[start..]).ok();
    let number = text.and_then(|text| text.get(1..)?.trim_end().parse().ok());
    number.ok_or_else(|| io::ErrorKind::InvalidData.into())
}
