//! Bookings a second on the SQLite store, against the same service without keys.

use std::{env, path::Path, time::Duration};

use idempotency::{Idempotency, SqliteDatabase, SqliteStore};

use crate::{
    Effort,
    client::{Client, Keys, Load, Until},
    report,
    server::{self, Server},
    service::{self, BARE, Bookings, PROTECTED},
};

const CONNECTIONS: usize = 64;

pub(crate) async fn measure(effort: Effort) {
    report::title(&format!(
        "SQLite store, synchronous=FULL, {CONNECTIONS} connections: as ratios to the service without keys"
    ));
    // Beside this program, and so on a disk: a folder for temporary files may be in memory.
    let program = env::current_exe().expect("the path of this program");
    let folder = tempfile::tempdir_in(program.parent().expect("the folder of this program"));
    let folder = folder.expect("a folder");
    let path = folder.path().to_str().expect("a path in UTF-8");

    let mut server = Server::start(&["sqlite", path]);
    let mut client = Client::connect(server.address(), CONNECTIONS).await;
    let completed = client
        .completed_keys(PROTECTED, if effort.quick { 50 } else { 500 })
        .await;
    let loads = [
        (BARE, Keys::Fresh),
        (PROTECTED, Keys::Fresh),
        (PROTECTED, completed),
    ]
    .map(|(path, keys)| Load { path, keys });
    let time = Duration::from_millis(if effort.quick { 200 } else { 1500 });

    let mut rates = [const { Vec::new() }; 3];
    let mut costs = [const { Vec::new() }; 3];
    // The first round warms up.
    for round in 0..=effort.rounds {
        for ((load, rates), costs) in loads.iter().zip(&mut rates).zip(&mut costs) {
            let before = server.cpu();
            let sent = client.send(load, Until::Passed(time)).await;
            let used = server.cpu() - before;
            if round > 0 {
                rates.push(sent.answers as f64 / sent.took.as_secs_f64());
                costs.push(report::microseconds(used) / sent.answers as f64);
            }
        }
    }
    let ([bare, first, replay], [bare_cost, first_cost, replay_cost]) = (rates, costs);
    report::ratios("bookings a second", &first, &bare);
    report::ratios("replays a second", &replay, &bare);
    report::ratios("server CPU of a booking", &first_cost, &bare_cost);
    report::ratios("server CPU of a replay", &replay_cost, &bare_cost);
    report::line("bookings a second without keys", bare, "");
    report::line("server CPU of a booking without keys", bare_cost, " µs");
}

pub(crate) fn serve(folder: &Path) {
    let runtime = server::runtime(2);
    let database = SqliteDatabase::open(folder.join("bookings.db")).expect("a database");
    let store = SqliteStore::new(database.clone()).expect("a store");
    let bookings = runtime.block_on(Bookings::in_file(database));
    let router = service::router(bookings, Idempotency::new(store));
    server::serve(&runtime, router, |_| {});
}
