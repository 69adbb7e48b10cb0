//! Servers that lose replies and are killed, and the stores on them.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use idempotency::{FirestoreStore, PostgresStore, RedisStore, conformance::TestStore};
use tests::{
    proxy::Proxy,
    servers::{
        firestore::{Documents, FirestoreEmulator},
        postgres::{PostgresServer, advance, make_clock_movable},
        redis::{RedisServer, set_back},
    },
    test_stores::skewed,
};
use tokio::{sync::Mutex, task::block_in_place};

use crate::{backend::Backend, plan::Fault};

/// A server behind a proxy.
#[derive(Debug)]
pub(crate) struct Disturbed {
    proxy: Proxy,
    server: Server,
    /// How often it was killed or started again.
    kills: AtomicUsize,
}

/// What can be killed without losing what it has confirmed.
#[derive(Debug)]
enum Server {
    Postgres(Arc<Mutex<PostgresServer>>),
    Redis(Arc<RedisServer>),
    /// The emulator of Firestore has its data in memory.
    Other,
}

impl Disturbed {
    pub(crate) async fn suffer(&self, fault: Fault) {
        match (fault, &self.server) {
            (Fault::LostReply, _) => self.proxy.lose_the_next_reply(),
            (Fault::Kill, Server::Postgres(server)) => {
                let mut server = server.lock().await;
                self.kills.fetch_add(1, Ordering::SeqCst);
                block_in_place(|| server.stop());
                server.restart();
                drop(server.connect().await);
                self.kills.fetch_add(1, Ordering::SeqCst);
            }
            (Fault::Kill, Server::Redis(server)) => {
                self.kills.fetch_add(1, Ordering::SeqCst);
                block_in_place(|| {
                    server.stop();
                    server.start_again();
                });
                self.kills.fetch_add(1, Ordering::SeqCst);
            }
            (Fault::Kill, Server::Other) => {}
        }
    }

    pub(crate) fn faults(&self) -> usize {
        self.kills.load(Ordering::SeqCst) + self.proxy.lost_replies()
    }

    async fn new(address: SocketAddr, server: Server) -> Self {
        Self {
            proxy: Proxy::to(address).await,
            server,
            kills: AtomicUsize::new(0),
        }
    }
}

/// PostgreSQL, which confirms a commit once it is in its log.
pub(crate) async fn postgres() -> Option<Backend> {
    let server = PostgresServer::start()?;
    drop(server.connect().await);
    let (url, port) = (server.database().await, server.port());
    make_clock_movable(&url).await;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let server = Server::Postgres(Arc::new(Mutex::new(server)));
    let disturbed = Disturbed::new(address, server).await;
    let ports = (
        format!(":{port}/"),
        format!(":{}/", disturbed.proxy.address().port()),
    );
    let store = PostgresStore::connect(&url.replace(&ports.0, &ports.1)).await;
    let store = TestStore::new(store.expect("a store"), move |time| advance(&url, time));
    Some(Backend::on_disturbed(store, disturbed))
}

/// Redis, which confirms a write once it is in its log.
pub(crate) async fn redis() -> Option<Backend> {
    redis_with(&["--appendonly", "yes", "--appendfsync", "always"]).await
}

/// Redis, with these options.
pub(crate) async fn redis_with(options: &[&str]) -> Option<Backend> {
    let server = Arc::new(RedisServer::start(options)?);
    let disturbed = Disturbed::new(server.address(), Server::Redis(Arc::clone(&server))).await;
    let url = format!("redis://{}/", disturbed.proxy.address());
    let store = RedisStore::connect(&url).await.expect("a store");
    let store = skewed(store.with_prefix("kept:"), move |time| {
        set_back(&server, "kept:", time);
    });
    Some(Backend::on_disturbed(store, disturbed))
}

/// The emulator of Firestore, which loses replies only.
pub(crate) async fn firestore() -> Option<Backend> {
    let emulator = FirestoreEmulator::shared()?;
    let (project, address) = (
        format!("disturbed-{}", PROJECTS.fetch_add(1, Ordering::SeqCst)),
        emulator.address(),
    );
    let server = address.parse().expect("an address");
    let disturbed = Disturbed::new(server, Server::Other).await;
    let proxy = disturbed.proxy.address().to_string();
    let store = FirestoreStore::connect_to_emulator(&project, &proxy).await;
    let documents = Documents::new(&address, &project);
    let store = skewed(store.expect("a store"), move |time| {
        documents.set_back(time);
    });
    Some(Backend::on_disturbed(store, disturbed).coarse())
}

/// How many projects were used.
static PROJECTS: AtomicUsize = AtomicUsize::new(0);
