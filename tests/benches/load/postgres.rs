//! Bookings a second on the PostgreSQL store, against the same service without keys.

use std::{net::Ipv4Addr, time::Duration};

use idempotency::{Idempotency, PostgresStore};
use sqlx::{Connection, PgConnection, Row, postgres::PgPoolOptions, raw_sql};
use tests::servers::postgres::PostgresServer;
use tokio::sync::Mutex;

use crate::{
    Effort,
    bookings::Bookings,
    client::{Client, Load, Until},
    counts, report,
    server::{self, Server},
    service::{self, BARE, PROTECTED, TRANSACTIONAL},
    turns,
    wire::{Protocol, Wire},
};

const CONNECTIONS: usize = 64;

/// The application's pool, which is smaller, as pools should be; the store has as many again. It is as sqlx sets it up:
/// two of the five round trips of a booking are the pool's own, which pings a connection before and after its use.
const POOL: u32 = 20;

pub(crate) async fn measure(effort: Effort) {
    let Some(database) = PostgresServer::start_durable() else {
        return;
    };
    report::title(&format!(
        "PostgreSQL store, durable, {CONNECTIONS} connections: as ratios to the service without keys"
    ));
    let url = database.database().await;
    let mut server = Server::start(&["postgres", &url]);
    let mut client = Client::connect(server.address(), CONNECTIONS).await;
    let completed = if effort.quick { 50 } else { 500 };
    let loads = [
        Load::without_keys(BARE),
        Load::fresh(PROTECTED),
        client.replays(PROTECTED, completed).await,
        Load::fresh(TRANSACTIONAL),
        client.replays(TRANSACTIONAL, completed).await,
    ];
    let time = Until::Passed(Duration::from_millis(if effort.quick { 200 } else { 1000 }));
    let [bare, leased, replay, transactional, other_replay] =
        turns::measure(&server, &mut client, &loads, time, effort.rounds).await;
    leased.report("leased", "booking", &bare);
    replay.report("leased", "replay", &bare);
    transactional.report("transactional", "booking", &bare);
    other_replay.report("transactional", "replay", &bare);
    bare.report_bare();
    drop((client, server));
    count(&database).await;
}

async fn count(database: &PostgresServer) {
    let wire = (Ipv4Addr::LOCALHOST, database.port()).into();
    let wire = Wire::start(wire, Protocol::Postgres);
    let url = database.database().await;
    let (before, name) = url.rsplit_once('/').expect("a name");
    let user = before.split('@').next().expect("a user");
    let url_of_wire = format!("{user}@{}/{name}?sslmode=disable", wire.address());
    let mut server = Server::start(&["postgres", &url_of_wire]);
    let mut client = Client::connect(server.address(), 1).await;
    counts::report_trips(&mut client, &wire, &[PROTECTED, TRANSACTIONAL]).await;

    let connection = PgConnection::connect(&url).await.expect("a connection");
    let connection = Mutex::new(connection);
    let commits = async || commits(&mut *connection.lock().await).await;
    counts::report_commits(&mut client, "one by one", commits).await;
}

/// How many transactions have written: the next number that one of them will have.
async fn commits(connection: &mut PgConnection) -> u64 {
    let next = "select pg_snapshot_xmax(pg_current_snapshot())::text";
    let row = raw_sql(next).fetch_one(connection).await;
    let next: String = row.expect("a reply").get(0);
    next.parse().expect("a number")
}

pub(crate) fn serve(url: &str) {
    let runtime = server::runtime(2);
    let router = runtime.block_on(async {
        let pool = PgPoolOptions::new()
            .max_connections(POOL)
            .connect(url)
            .await;
        let pool = pool.expect("a connection");
        let store = PostgresStore::new(pool.clone());
        store.create_schema().await.expect("tables");
        let bookings = Bookings::in_postgres(pool).await;
        service::router(bookings, Idempotency::new(store))
    });
    server::serve(&runtime, router, |_| {});
}
