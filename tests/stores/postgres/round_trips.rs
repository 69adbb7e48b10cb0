//! How many requests the server gets, counted on the wire, and what becomes of their connections.

use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use idempotency::{Idempotency, PostgresStore, Run, Store, store::IfOwner};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgSslMode};
use tests::servers::postgres::PostgresServer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
};

use super::{database, named, new_hold, request, store};
use crate::claim;

/// How many requests a new database with the store's tables gets, and how to connect to it so that they are counted.
pub(super) async fn counted() -> Option<(Arc<AtomicUsize>, PgConnectOptions)> {
    let (server, url) = (PostgresServer::shared()?, database().await?);
    store(&url).await;
    let trips = Arc::new(AtomicUsize::new(0));
    let port = counting(server.port(), Arc::clone(&trips)).await;
    let options: PgConnectOptions = url.parse().expect("a URL");
    Some((trips, options.port(port).ssl_mode(PgSslMode::Disable)))
}

#[tokio::test]
async fn a_first_execution_takes_two_round_trips_and_a_replay_one() {
    let Some((trips, options)) = counted().await else {
        return;
    };
    let pool = PgPoolOptions::new().connect_lazy_with(options);
    let engine = Idempotency::new(PostgresStore::new(pool));
    let run = async |key: &str| {
        let (scope, key) = named(key);
        let work = async { Ok::<_, ()>("booked".to_owned()) };
        engine
            .run(&scope, &key, request(), work)
            .await
            .expect("a value")
    };
    // The connection and its prepared statements are made once.
    run("first").await;
    run("first").await;

    let mut counted = Vec::new();
    for key in ["second", "third", "fourth"] {
        trips.store(0, Ordering::SeqCst);
        assert_eq!(run(key).await, Run::Executed("booked".to_owned()));
        let first = trips.swap(0, Ordering::SeqCst);
        // Two requests: data that is sent after a reply is written with the next request.
        for _ in 0..2 {
            assert_eq!(run(key).await, Run::Replayed("booked".to_owned()));
        }
        counted.push((first, trips.load(Ordering::SeqCst)));
    }
    // Now and then the pool pings a connection, which is not counted.
    assert_eq!(counted.iter().min(), Some(&(2, 2)), "{counted:?}");
}

#[tokio::test]
async fn a_suspension_takes_one_round_trip() {
    let Some((trips, options)) = counted().await else {
        return;
    };
    let store = PostgresStore::new(PgPoolOptions::new().connect_lazy_with(options));
    let mut counted = Vec::new();
    for _ in 0..4 {
        let owner = new_hold();
        claim(&store, &owner, &request()).await.expect("a claim");
        trips.store(0, Ordering::SeqCst);
        let suspended = store.suspend(&owner, Bytes::from_static(b"charged")).await;
        assert_eq!(suspended.ok(), Some(IfOwner::Done(())));
        // Data that is sent after its reply is written with the next request.
        claim(&store, &new_hold(), &request())
            .await
            .expect("a claim");
        counted.push(trips.load(Ordering::SeqCst));
    }
    // The first one prepares the statement, and now and then the pool pings a connection.
    assert_eq!(counted.iter().min(), Some(&2), "{counted:?}");
}

/// Its connections outlive the statements, and perhaps the runtime.
#[test]
fn a_store_may_be_dropped_after_its_runtime() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let used = runtime.block_on(async {
        let store = store(&database().await?).await;
        let engine = Idempotency::new(store);
        let (scope, key) = named("k");
        let work = async { Ok::<_, ()>(1) };
        let run = engine.run(&scope, &key, request(), work).await;
        assert_eq!(run.expect("a value"), Run::Executed(1));
        Some(engine)
    });
    drop(runtime);
    drop(used);
}

/// A port that leads to the server's, and counts the requests that need a reply.
pub(crate) async fn counting(server: u16, trips: Arc<AtomicUsize>) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await;
            let (mut replies, server) = server.expect("a server").into_split();
            let (requests, mut client) = client.into_split();
            tokio::spawn(count(requests, server, Arc::clone(&trips)));
            tokio::spawn(async move { copy(&mut replies, &mut client).await });
        }
    });
    port
}

/// Passes messages on: the first one begins with its length, the others with their kind.
async fn count(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    trips: Arc<AtomicUsize>,
) -> std::io::Result<()> {
    let mut kind = None;
    loop {
        let length = from.read_u32().await?;
        let mut rest = vec![0; length as usize - 4];
        from.read_exact(&mut rest).await?;
        // A query, or the end of a prepared one.
        if matches!(kind, Some(b'Q' | b'S')) {
            trips.fetch_add(1, Ordering::SeqCst);
        }
        let mut message = Vec::from_iter(kind);
        message.extend(length.to_be_bytes());
        message.extend(rest);
        to.write_all(&message).await?;
        kind = Some(from.read_u8().await?);
    }
}
