//! Bookings a second on the Redis store, against the same service without keys.

use std::time::Duration;

use idempotency::{Idempotency, RedisStore};
use tests::servers::redis::RedisServer;

use crate::{
    Effort,
    bookings::Bookings,
    client::{Client, Load, Until},
    counts, report,
    server::{self, Server},
    service::{self, BARE, PROTECTED},
    turns,
    wire::{Protocol, Wire},
};

const CONNECTIONS: usize = 64;

pub(crate) async fn measure(effort: Effort) {
    let Some(database) = RedisServer::start(&[]) else {
        return;
    };
    report::title(&format!(
        "Redis store, in memory, {CONNECTIONS} connections: as ratios to the service without keys"
    ));
    let mut server = Server::start(&["redis", &database.url()]);
    let mut client = Client::connect(server.address(), CONNECTIONS).await;
    let completed = if effort.quick { 50 } else { 500 };
    let loads = [
        Load::without_keys(BARE),
        Load::fresh(PROTECTED),
        client.replays(PROTECTED, completed).await,
    ];
    let time = Until::Passed(Duration::from_millis(if effort.quick { 200 } else { 1000 }));
    let [bare, leased, replay] =
        turns::measure(&server, &mut client, &loads, time, effort.rounds).await;
    leased.report("leased", "booking", &bare);
    replay.report("leased", "replay", &bare);
    bare.report_bare();
    drop((client, server));

    let wire = Wire::start(database.address(), Protocol::Redis);
    let mut server = Server::start(&["redis", &format!("redis://{}/", wire.address())]);
    let mut client = Client::connect(server.address(), 1).await;
    counts::report_trips(&mut client, &wire, &[PROTECTED]).await;
}

pub(crate) fn serve(url: &str) {
    let runtime = server::runtime(2);
    let router = runtime.block_on(async {
        let store = RedisStore::connect(url).await.expect("a store");
        let bookings = Bookings::in_redis(url).await;
        service::router(bookings, Idempotency::new(store))
    });
    server::serve(&runtime, router, |_| {});
}
