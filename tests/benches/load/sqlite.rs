//! Bookings a second on the SQLite store, against the same service without keys.

use std::{env, fs, path::Path, time::Duration};

use idempotency::{Idempotency, SqliteDatabase, SqliteStore};

use crate::{
    Effort,
    bookings::{Alone, Bookings},
    client::{Client, Load, Until},
    counts, report,
    server::{self, Server},
    service::{self, ALONE, BARE, PROTECTED, TRANSACTIONAL},
    turns,
};

const CONNECTIONS: usize = 64;

const FILE: &str = "bookings.db";

pub(crate) async fn measure(effort: Effort) {
    report::title(&format!(
        "SQLite store, synchronous=FULL, {CONNECTIONS} connections: as ratios to the service without keys"
    ));
    // Next to this program, and so on a disk: a folder for temporary files may be in memory.
    let program = env::current_exe().expect("the path of this program");
    let folder = tempfile::tempdir_in(program.parent().expect("the folder of this program"));
    let folder = folder.expect("a folder");
    let path = folder.path().to_str().expect("a path in UTF-8");

    let mut server = Server::start(&["sqlite", path]);
    let address = server.address();
    let mut client = Client::connect(address, CONNECTIONS).await;
    let completed = if effort.quick { 50 } else { 500 };
    let loads = [
        Load::without_keys(BARE),
        Load::fresh(PROTECTED),
        client.replays(PROTECTED, completed).await,
        Load::fresh(TRANSACTIONAL),
        client.replays(TRANSACTIONAL, completed).await,
        Load::without_keys(ALONE),
    ];
    let time = Until::Passed(Duration::from_millis(if effort.quick { 200 } else { 1000 }));
    let [bare, leased, replay, transactional, other_replay, alone] =
        turns::measure(&server, &mut client, &loads, time, effort.rounds).await;
    leased.report("leased", "booking", &bare);
    replay.report("leased", "replay", &bare);
    transactional.report("transactional", "booking", &bare);
    other_replay.report("transactional", "replay", &bare);
    report::ratios(
        "transactional, to one commit each: bookings a second",
        &transactional.rates,
        &alone.rates,
    );
    report::ratios(
        "without keys, to one commit each: bookings a second",
        &bare.rates,
        &alone.rates,
    );
    bare.report_bare();
    report::line("one commit each: bookings a second", alone.rates, "");

    let commits = async || commits(folder.path());
    counts::report_commits(&mut client, "64 at once", commits).await;
    drop(client);
    let mut client = Client::connect(address, 1).await;
    counts::report_commits(&mut client, "one by one", commits).await;
}

/// How many transactions have written, by the counter in the file that SQLite's connections share.
/// <https://sqlite.org/walformat.html>
fn commits(folder: &Path) -> u64 {
    let index = fs::read(folder.join(format!("{FILE}-shm"))).expect("an index of the log");
    let counter = index[8..12].try_into().expect("four bytes");
    u32::from_ne_bytes(counter).into()
}

pub(crate) fn serve(folder: &Path) {
    let runtime = server::runtime(2);
    let database = SqliteDatabase::open(folder.join(FILE)).expect("a database");
    let store = SqliteStore::new(database.clone()).expect("a store");
    let bookings = runtime.block_on(Bookings::in_file(database));
    let alone = Bookings::Alone(Alone::in_file(&folder.join("alone.db")));
    let router = service::router(bookings, Idempotency::new(store));
    let router = router.merge(service::router_alone(alone));
    server::serve(&runtime, router, |_| {});
}
