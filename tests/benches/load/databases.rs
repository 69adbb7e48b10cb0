//! Bookings a second over each database, with and without keys; and what a key costs there.

use std::{env, net::SocketAddr, path::Path, time::Duration};

use idempotency::{
    FirestoreDatabase, FirestoreStore, Idempotency, PostgresStore, RedisStore, SqliteDatabase,
    SqliteStore,
};
use sqlx::postgres::PgPoolOptions;
use tempfile::TempDir;
use tests::servers::{firestore::FirestoreEmulator, postgres::PostgresServer, redis::RedisServer};
use tokio::runtime::Runtime;

use crate::{
    Effort,
    client::{Client, Keys, Load, Until},
    report,
    server::{self, Server},
    service::{self, ALONE, BARE, Bookings, PROTECTED, TRANSACTIONAL},
    wire::{Counts, Wire},
};

const CONNECTIONS: usize = 64;

/// A database that runs, and how the measured process finds it.
struct Database {
    kind: &'static str,
    at: String,
    /// Where it listens, if it is a server, and what is a round trip to it.
    server: Option<(SocketAddr, Counts)>,
    _folder: Option<TempDir>,
    _postgres: Option<PostgresServer>,
    _redis: Option<RedisServer>,
    _firestore: Option<FirestoreEmulator>,
}

pub(crate) async fn measure(kind: &'static str, effort: Effort) {
    let Some(database) = Database::start(kind).await else {
        return;
    };
    report::title(&format!(
        "{kind}, {CONNECTIONS} connections: as ratios to the service without keys"
    ));
    let mut paths = vec![PROTECTED];
    if kind != "redis" {
        paths.push(TRANSACTIONAL);
    }
    let mut server = Server::start(&[kind, &database.at]);
    let mut client = Client::connect(server.address(), CONNECTIONS).await;
    let keys = if effort.quick { 50 } else { 500 };
    let mut loads = vec![load(BARE)];
    for path in paths.iter().copied() {
        let completed = client.completed_keys(path, keys).await;
        loads.extend([
            load(path),
            Load {
                path,
                keys: completed,
            },
        ]);
    }
    if kind == "sqlite" {
        loads.push(load(ALONE));
    }
    let time = Duration::from_millis(if effort.quick { 200 } else { 1500 });
    let (mut rates, mut costs) = (vec![Vec::new(); loads.len()], vec![Vec::new(); loads.len()]);
    // The first round warms up.
    for round in 0..=effort.rounds {
        for (index, load) in loads.iter().enumerate() {
            let before = server.cpu();
            let sent = client.send(load, Until::Passed(time)).await;
            let used = server.cpu() - before;
            if round > 0 {
                rates[index].push(sent.answers as f64 / sent.took.as_secs_f64());
                costs[index].push(report::microseconds(used) / sent.answers as f64);
            }
        }
    }
    for (index, path) in paths.iter().enumerate() {
        let (first, replay) = (1 + 2 * index, 2 + 2 * index);
        let mode = path.trim_start_matches('/');
        report::ratios(
            &format!("{mode}: bookings a second"),
            &rates[first],
            &rates[0],
        );
        report::ratios(
            &format!("{mode}: replays a second"),
            &rates[replay],
            &rates[0],
        );
        report::ratios(
            &format!("{mode}: server CPU of a booking"),
            &costs[first],
            &costs[0],
        );
        report::ratios(
            &format!("{mode}: server CPU of a replay"),
            &costs[replay],
            &costs[0],
        );
    }
    if kind == "sqlite" {
        let (transactional, alone) = (&rates[3], &rates[5]);
        report::ratios(
            "transactional, by one that commits each alone",
            transactional,
            alone,
        );
    }
    report::line("bookings a second without keys", rates.remove(0), "");
    report::line(
        "server CPU of a booking without keys",
        costs.remove(0),
        " µs",
    );
    if let Some((address, counts)) = database.server {
        count_round_trips(&database, address, counts, &paths).await;
    }
}

fn load(path: &'static str) -> Load {
    let keys = Keys::Fresh;
    Load { path, keys }
}

/// One request after the other, by a process whose database is behind a wire that counts.
async fn count_round_trips(
    database: &Database,
    address: SocketAddr,
    counts: Counts,
    paths: &[&'static str],
) {
    const REQUESTS: usize = 100;
    let wire = Wire::to(address, counts).await;
    let at = database
        .at
        .replace(&address.to_string(), &wire.address.to_string());
    let mut server = Server::start(&[database.kind, &at]);
    // The process is waited for elsewhere, because the wire is carried by this thread.
    let (mut server, listens) = tokio::task::spawn_blocking(move || {
        let listens = server.address();
        (server, listens)
    })
    .await
    .expect("a process");
    let mut client = Client::connect(listens, 1).await;
    let mut loads = vec![("bookings without keys".to_owned(), load(BARE))];
    for path in paths.iter().copied() {
        let mode = path.trim_start_matches('/');
        let keys = client.completed_keys(path, REQUESTS).await;
        loads.push((format!("{mode}: a first execution"), load(path)));
        loads.push((format!("{mode}: a replay"), Load { path, keys }));
    }
    for (name, load) in loads {
        // What is made once, such as prepared statements, is made now.
        client.send(&load, Until::Requests(10)).await;
        wire.counted();
        client.send(&load, Until::Requests(REQUESTS)).await;
        let each = wire.counted() as f64 / REQUESTS as f64;
        report::line(&format!("round trips, {name}"), vec![each], "");
    }
    server.stop();
}

impl Database {
    async fn start(kind: &'static str) -> Option<Self> {
        let mut database = Self {
            kind,
            at: String::new(),
            server: None,
            _folder: None,
            _postgres: None,
            _redis: None,
            _firestore: None,
        };
        match kind {
            "sqlite" => {
                // Beside this program, and so on a disk: a folder for temporary files may be in memory.
                let program = env::current_exe().expect("the path of this program");
                let beside = program.parent().expect("the folder of this program");
                let folder = tempfile::tempdir_in(beside).expect("a folder");
                database.at = folder.path().to_str().expect("a path in UTF-8").to_owned();
                database._folder = Some(folder);
            }
            "postgres" => {
                let server = PostgresServer::start()?;
                database.at = server.database().await;
                let host = database.at.split(['@', '/']).nth(3).expect("a host");
                database.server = Some((host.parse().expect("an address"), Counts::Turns));
                database._postgres = Some(server);
            }
            "firestore" => {
                let server = FirestoreEmulator::start()?;
                let address = server.address();
                database.server = Some((address.parse().expect("an address"), Counts::Streams));
                database.at = address;
                database._firestore = Some(server);
            }
            _ => {
                let server = RedisServer::start(&[])?;
                database.at = server.url();
                database.server = Some((server.address(), Counts::Turns));
                database._redis = Some(server);
            }
        }
        Some(database)
    }
}

/// The other side: the service over this database.
pub(crate) fn serve(kind: &str, at: &str) {
    let runtime = server::runtime(2);
    let (bookings, idempotency) = match kind {
        "sqlite" => over_sqlite(&runtime, at.as_ref()),
        "postgres" => runtime.block_on(over_postgres(at)),
        "firestore" => runtime.block_on(over_firestore(at)),
        _ => runtime.block_on(over_redis(at)),
    };
    let router = service::router(bookings, idempotency);
    server::serve(&runtime, router, |_| {});
}

fn over_sqlite(runtime: &Runtime, folder: &Path) -> (Bookings, Idempotency) {
    let file = folder.join("bookings.db");
    let database = SqliteDatabase::open(&file).expect("a database");
    let store = SqliteStore::new(database.clone()).expect("a store");
    let bookings = runtime.block_on(Bookings::in_file(database, folder));
    (bookings, Idempotency::new(store))
}

async fn over_postgres(url: &str) -> (Bookings, Idempotency) {
    let pool = PgPoolOptions::new()
        .max_connections(20)
        .test_before_acquire(false)
        .connect(url);
    let pool = pool.await.expect("a pool");
    let store = PostgresStore::new(pool.clone());
    store.create_schema().await.expect("tables");
    (Bookings::in_postgres(pool).await, Idempotency::new(store))
}

async fn over_redis(url: &str) -> (Bookings, Idempotency) {
    let store = RedisStore::connect(url).await.expect("a store");
    (Bookings::in_redis(url).await, Idempotency::new(store))
}

async fn over_firestore(address: &str) -> (Bookings, Idempotency) {
    let database = FirestoreDatabase::connect_to_emulator("load", address).await;
    let database = database.expect("a database");
    let store = FirestoreStore::new(database.clone());
    (Bookings::Firestore(database), Idempotency::new(store))
}
