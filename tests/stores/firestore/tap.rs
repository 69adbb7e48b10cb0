//! A wire between a store and the emulator, which counts calls and can be cut.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering},
    },
};

use tests::servers::firestore::FirestoreEmulator;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

#[derive(Debug)]
pub(crate) struct Tap {
    address: SocketAddr,
    line: Arc<Line>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Line {
    calls: AtomicUsize,
    /// How many more calls are answered, counted from the outside; `isize::MAX` stands for all.
    answered: AtomicIsize,
    is_down: AtomicBool,
    cuts: watch::Sender<usize>,
}

impl Tap {
    pub(crate) async fn start(emulator: &FirestoreEmulator) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let line = Arc::new(Line {
            calls: AtomicUsize::new(0),
            answered: AtomicIsize::new(isize::MAX),
            is_down: AtomicBool::new(false),
            cuts: watch::Sender::new(0),
        });
        let emulator = emulator.address();
        let accepting = tokio::spawn({
            let line = Arc::clone(&line);
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    if !line.is_down.load(Ordering::SeqCst) {
                        tokio::spawn(carry(Arc::clone(&line), client, emulator.clone()));
                    }
                }
            }
        });
        Self {
            address,
            line,
            accepting,
        }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// How many calls have been made since the last time.
    pub(crate) fn calls(&self) -> usize {
        self.line.calls.swap(0, Ordering::SeqCst)
    }

    /// The answers to the next calls, so many, still come through, and then none until the connection is cut.
    pub(crate) fn mute_after(&self, calls: isize) {
        self.line.answered.store(calls, Ordering::SeqCst);
    }

    /// Every connection ends. The next ones are whole again.
    pub(crate) fn cut(&self) {
        self.line.cuts.send_modify(|cuts| *cuts += 1);
        self.line.answered.store(isize::MAX, Ordering::SeqCst);
    }

    /// Every connection ends, also those to come.
    pub(crate) fn take_down(&self) {
        self.line.is_down.store(true, Ordering::SeqCst);
        self.cut();
    }

    pub(crate) fn put_up(&self) {
        self.line.is_down.store(false, Ordering::SeqCst);
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(line: Arc<Line>, client: TcpStream, emulator: String) {
    let mut cuts = line.cuts.subscribe();
    let Ok(server) = TcpStream::connect(emulator).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Who ends first takes the other one along.
    tokio::select! {
        _ = up(&line, from_client, to_server) => {}
        _ = down(&line, from_server, to_client) => {}
        _ = cuts.changed() => {}
    }
}

/// Each call of gRPC is a stream of HTTP/2, which one frame of headers opens.
async fn up(line: &Line, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
    const HEADERS: u8 = 1;
    let mut preface = [0; 24];
    from.read_exact(&mut preface).await?;
    to.write_all(&preface).await?;
    loop {
        let mut head = [0; 9];
        from.read_exact(&mut head).await?;
        let [a, b, c, kind, ..] = head;
        let mut frame = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        from.read_exact(&mut frame).await?;
        if kind == HEADERS {
            line.calls.fetch_add(1, Ordering::SeqCst);
            if line.answered.load(Ordering::SeqCst) != isize::MAX {
                line.answered.fetch_sub(1, Ordering::SeqCst);
            }
        }
        to.write_all(&head).await?;
        to.write_all(&frame).await?;
    }
}

async fn down(line: &Line, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        if line.answered.load(Ordering::SeqCst) >= 0 {
            to.write_all(&buffer[..length]).await?;
        }
    }
}
