//! One connection of a client, and the one to the server that belongs to it.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, sink},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    time::timeout,
};

use super::{Due, Shared};

/// Whether data may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    Open,
    Dark,
    Cut,
}

#[derive(Debug)]
pub(super) struct Line {
    shared: Arc<Shared>,
    passage: watch::Receiver<Passage>,
    silence: watch::Sender<Passage>,
    /// Whether this connection's next reply is lost.
    loses_reply: AtomicBool,
}

/// How long a server may continue with the requests of a client that has left.
const REST: Duration = Duration::from_secs(30);

impl Line {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        let passage = watch::Sender::new(Passage::Open);
        let line = Self {
            shared: Arc::clone(shared),
            passage: passage.subscribe(),
            silence: passage.clone(),
            loses_reply: AtomicBool::new(false),
        };
        let mut passages = shared.passages.lock();
        passages.retain(|passage| !passage.is_closed());
        passages.push(passage);
        line
    }

    /// Returns once both connections are closed.
    pub(super) async fn pass(self, client: TcpStream) {
        let server = *self.shared.server.lock();
        let Ok(server) = TcpStream::connect(server).await else {
            return;
        };
        let (from_client, to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let passing = async {
            let client_left = tokio::select! {
                // This comes first, because a reply to a client that has left would discard what the client sent before.
                biased;
                client_left = self.requests(from_client, &mut to_server) => client_left,
                () = self.replies(&mut from_server, to_client) => false,
            };
            // Data that a client sent before it left arrives, as it does without a proxy.
            if client_left && to_server.shutdown().await.is_ok() {
                drop(timeout(REST, copy(&mut from_server, &mut sink())).await);
            }
        };
        let mut passage = self.passage.clone();
        tokio::select! {
            () = passing => {}
            _ = passage.wait_for(|passage| *passage == Passage::Cut) => {}
        }
    }

    /// Whether it was the client who ended it.
    async fn requests(&self, mut client: OwnedReadHalf, server: &mut OwnedWriteHalf) -> bool {
        let mut buffer = vec![0; 1 << 16];
        loop {
            self.while_dark().await;
            let Ok(length @ 1..) = client.read(&mut buffer).await else {
                self.while_dark().await;
                return true;
            };
            let request = &buffer[..length];
            let is_in_it = |lost: &mut &[u8]| request.windows(lost.len()).any(|part| part == *lost);
            if self.shared.lost_with.lock().take_if(is_in_it).is_some() {
                self.loses_reply.store(true, Ordering::SeqCst);
            }
            self.while_dark().await;
            if self.shared.silenced_with.lock().take_if(is_in_it).is_some() {
                self.silence.send_replace(Passage::Dark);
            }
            if server.write_all(request).await.is_err() {
                return false;
            }
        }
    }

    /// Returns once the receiver has left, or there is nothing more to send.
    async fn replies(&self, server: &mut OwnedReadHalf, mut client: OwnedWriteHalf) {
        let (arrived, mut on_the_way) = mpsc::unbounded_channel::<(Due, Vec<u8>)>();
        // A late reply delays the replies after it no longer than itself.
        let arriving = async {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(length @ 1..) = server.read(&mut buffer).await {
                let loses_it = self.loses_reply.load(Ordering::SeqCst)
                    || self.shared.loses_reply.swap(false, Ordering::SeqCst);
                if loses_it {
                    self.shared.lost_replies.fetch_add(1, Ordering::SeqCst);
                    break;
                }
                let reply = (self.shared.due(), buffer[..length].to_vec());
                if arrived.send(reply).is_err() {
                    break;
                }
            }
            drop(arrived);
            pending::<()>().await;
        };
        let sending = async {
            while let Some((due, reply)) = on_the_way.recv().await {
                self.shared.hold_until(due).await;
                self.while_dark().await;
                if client.write_all(&reply).await.is_err() {
                    return;
                }
            }
            // While the connection is dark, the client does not learn either that the server has closed it.
            self.while_dark().await;
        };
        tokio::select! {
            () = sending => {}
            () = arriving => {}
        }
    }

    /// Returns once data may pass.
    async fn while_dark(&self) {
        let mut passage = self.passage.clone();
        drop(passage.wait_for(|passage| *passage != Passage::Dark).await);
    }
}
