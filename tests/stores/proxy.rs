//! Something between a store and its server that loses what it is told to lose.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::AbortHandle,
};

/// A port that leads to a server, until the runtime of its test ends.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: AbortHandle,
}

struct Shared {
    server: Mutex<SocketAddr>,
    loses_reply: AtomicBool,
    /// A request with this in it gets no reply.
    lost_with: Mutex<Option<&'static [u8]>>,
    /// A request with this in it silences its connection.
    silenced_with: Mutex<Option<&'static [u8]>>,
    /// How often the connections of the moment have been silenced.
    silence: watch::Sender<usize>,
}

impl Proxy {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared {
            server: Mutex::new(server),
            loses_reply: AtomicBool::new(false),
            lost_with: Mutex::default(),
            silenced_with: Mutex::default(),
            silence: watch::Sender::new(0),
        });
        let accepting = tokio::spawn({
            let shared = Arc::clone(&shared);
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(pass(client, Arc::clone(&shared)));
                }
            }
        });
        Self {
            address,
            shared,
            accepting: accepting.abort_handle(),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets the next request through, drops the reply to it, and cuts that connection.
    pub(crate) fn lose_the_next_reply(&self) {
        self.shared.loses_reply.store(true, Ordering::SeqCst);
    }

    /// The same for the next request that has this in it.
    pub(crate) fn lose_the_reply_to(&self, request: &'static [u8]) {
        *self.shared.lost_with.lock() = Some(request);
    }

    /// Lets nothing more through on the connections that are there, and keeps them open.
    pub(crate) fn silence(&self) {
        self.shared.silence.send_modify(|times| *times += 1);
    }

    /// Lets the next request with this in it through, and nothing more on its connection, which stays open.
    pub(crate) fn silence_behind(&self, request: &'static [u8]) {
        *self.shared.silenced_with.lock() = Some(request);
    }

    /// Leads new connections somewhere else. Those that are there stay where they are.
    pub(crate) fn lead_to(&self, server: SocketAddr) {
        *self.shared.server.lock() = server;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(client: TcpStream, shared: Arc<Shared>) {
    let server = *shared.server.lock();
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let is_silent = AtomicBool::new(false);
    let requests = async {
        let mut request = vec![0; 1 << 16];
        while let Ok(length @ 1..) = from_client.read(&mut request).await {
            let request = &request[..length];
            let is_in_it = |lost: &mut &[u8]| request.windows(lost.len()).any(|part| part == *lost);
            if shared.lost_with.lock().take_if(is_in_it).is_some() {
                shared.loses_reply.store(true, Ordering::SeqCst);
            }
            let silences = shared.silenced_with.lock().take_if(is_in_it).is_some();
            is_silent.store(silences, Ordering::SeqCst);
            if to_server.write_all(request).await.is_err() {
                return;
            }
            if silences {
                std::future::pending::<()>().await;
            }
        }
    };
    let replies = async {
        let mut reply = vec![0; 1 << 16];
        while let Ok(length @ 1..) = from_server.read(&mut reply).await {
            if is_silent.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            if shared.loses_reply.swap(false, Ordering::SeqCst) {
                return;
            }
            if to_client.write_all(&reply[..length]).await.is_err() {
                return;
            }
        }
    };
    let mut silence = shared.silence.subscribe();
    // Whichever ends first takes both connections with it.
    let silenced = tokio::select! {
        () = requests => false,
        () = replies => false,
        silenced = silence.changed() => silenced.is_ok(),
    };
    if silenced {
        std::future::pending::<()>().await;
    }
}
