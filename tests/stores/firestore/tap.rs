//! A wire between a store and the emulator, which counts calls, can be cut, and can deliver one of them late.

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
    sync::{Mutex, watch},
    task::JoinHandle,
};

use crate::within_a_minute;

#[derive(Debug)]
pub(crate) struct Tap {
    address: SocketAddr,
    line: Arc<Line>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Line {
    calls: AtomicUsize,
    /// How many more calls get a reply; `isize::MAX` stands for all.
    answered: AtomicIsize,
    is_down: AtomicBool,
    cuts: watch::Sender<usize>,
    late: watch::Sender<Late>,
}

/// The state of a call that is to arrive late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Late {
    /// There is none.
    Unwanted,
    /// The next call that contains this.
    With(&'static [u8]),
    /// The call is held back, and its caller's connection has ended.
    Held,
    Sent,
    Replied,
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
            late: watch::Sender::new(Late::Unwanted),
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

    /// The replies to this many calls still come through, and then none until the connection is cut.
    pub(crate) fn mute_after(&self, calls: isize) {
        self.line.answered.store(calls, Ordering::SeqCst);
    }

    /// Every connection ends. Later ones work.
    pub(crate) fn cut(&self) {
        self.line.cuts.send_modify(|cuts| *cuts += 1);
        self.line.answered.store(isize::MAX, Ordering::SeqCst);
    }

    /// Every connection ends, including future ones.
    pub(crate) fn take_down(&self) {
        self.line.is_down.store(true, Ordering::SeqCst);
        self.cut();
    }

    pub(crate) fn put_up(&self) {
        self.line.is_down.store(false, Ordering::SeqCst);
    }

    /// Every connection ends, and the port is closed.
    pub(crate) async fn end(&mut self) {
        self.accepting.abort();
        drop((&mut self.accepting).await);
        self.cut();
    }

    /// The next call that contains this is held back, and its caller's connection ends. Later connections work.
    pub(crate) fn hold_back(&self, with: &'static [u8]) {
        self.line.late.send_replace(Late::With(with));
    }

    /// Returns once such a call has come.
    pub(crate) async fn holds_one_back(&self) {
        self.line.comes_to(Late::Held).await;
    }

    /// Delivers the call that was held back to the emulator, and returns once it has replied.
    pub(crate) async fn let_through(&self) {
        assert_eq!(self.line.late.send_replace(Late::Sent), Late::Held);
        self.line.comes_to(Late::Replied).await;
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
    let to_client = Mutex::new(Some(to_client));
    // When one direction ends, so does the other.
    tokio::select! {
        _ = up(&line, from_client, to_server, &to_client) => {}
        _ = down(&line, from_server, &to_client) => {}
        _ = cuts.changed() => {}
    }
}

impl Line {
    async fn comes_to(&self, late: Late) {
        let mut states = self.late.subscribe();
        let come = states.wait_for(|state| *state == late);
        let come = within_a_minute("the late call", come).await;
        come.expect("a line that is there");
    }
}

/// A frame of HTTP/2, with its head.
struct Frame(Vec<u8>);

impl Frame {
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;

    async fn read(from: &mut OwnedReadHalf) -> io::Result<Self> {
        let mut head = [0; 9];
        from.read_exact(&mut head).await?;
        let [a, b, c, ..] = head;
        let mut frame = head.to_vec();
        frame.resize(9 + u32::from_be_bytes([0, a, b, c]) as usize, 0);
        from.read_exact(&mut frame[9..]).await?;
        Ok(Self(frame))
    }

    fn kind(&self) -> u8 {
        self.0[3]
    }

    /// Whether its sender has sent all of its call.
    fn is_last(&self) -> bool {
        matches!(self.kind(), Self::DATA | Self::HEADERS) && self.0[4] & 1 == 1
    }
}

/// Each call of gRPC is a stream of HTTP/2, which one frame of headers opens.
async fn up(
    line: &Line,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    to_client: &Mutex<Option<OwnedWriteHalf>>,
) -> io::Result<()> {
    let mut preface = [0; 24];
    from.read_exact(&mut preface).await?;
    to.write_all(&preface).await?;
    let mut waiting = Vec::new();
    loop {
        let frame = Frame::read(&mut from).await?;
        if frame.kind() == Frame::HEADERS {
            line.calls.fetch_add(1, Ordering::SeqCst);
            if line.answered.load(Ordering::SeqCst) != isize::MAX {
                line.answered.fetch_sub(1, Ordering::SeqCst);
            }
        }
        waiting.extend_from_slice(&frame.0);
        if let Late::With(content) = *line.late.borrow() {
            if !frame.is_last() {
                continue;
            }
            if waiting.windows(content.len()).any(|part| part == content) {
                break;
            }
        }
        to.write_all(&waiting).await?;
        waiting.clear();
    }
    drop((from, to_client.lock().await.take()));
    line.late.send_replace(Late::Held);
    line.comes_to(Late::Sent).await;
    to.write_all(&waiting).await?;
    line.comes_to(Late::Replied).await;
    Ok(())
}

async fn down(
    line: &Line,
    mut from: OwnedReadHalf,
    to: &Mutex<Option<OwnedWriteHalf>>,
) -> io::Result<()> {
    loop {
        let frame = Frame::read(&mut from).await?;
        match &mut *to.lock().await {
            Some(to) if line.answered.load(Ordering::SeqCst) >= 0 => to.write_all(&frame.0).await?,
            None if frame.is_last() => drop(line.late.send_replace(Late::Replied)),
            _ => {}
        }
    }
}
