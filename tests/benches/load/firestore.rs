//! Bookings a second on the Firestore store, against the same service without keys.
//!
//! The server is Google's emulator, which is far slower than the service and than Firestore: the figures show what the
//! service itself spends, and how many calls it makes, but hardly how long a booking would take in production.

use idempotency::{FirestoreStore, Idempotency};
use tests::servers::firestore::FirestoreEmulator;

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
    let Some(emulator) = FirestoreEmulator::start() else {
        return;
    };
    report::title(&format!(
        "Firestore store, emulator, {CONNECTIONS} connections: as ratios to the service without keys"
    ));
    let address = emulator.address();
    let mut server = Server::start(&["firestore", "load", &address]);
    let mut client = Client::connect(server.address(), CONNECTIONS).await;
    let completed = if effort.quick { 20 } else { 100 };
    let loads = [
        Load::without_keys(BARE),
        Load::fresh(PROTECTED),
        client.replays(PROTECTED, completed).await,
    ];
    let requests = Until::Requests(if effort.quick { 50 } else { 500 });
    let [bare, leased, replay] =
        turns::measure(&server, &mut client, &loads, requests, effort.rounds).await;
    leased.report("leased", "booking", &bare);
    replay.report("leased", "replay", &bare);
    bare.report_bare();
    drop((client, server));

    let address = address.parse().expect("an address");
    let wire = Wire::start(address, Protocol::Http2);
    let mut server = Server::start(&["firestore", "counts", &wire.address().to_string()]);
    let mut client = Client::connect(server.address(), 1).await;
    counts::report_trips(&mut client, &wire, &[PROTECTED]).await;
}

pub(crate) fn serve(project: &str, address: &str) {
    let runtime = server::runtime(2);
    let router = runtime.block_on(async {
        let store = FirestoreStore::connect_to_emulator(project, address).await;
        let bookings = Bookings::in_firestore(project, address).await;
        service::router(bookings, Idempotency::new(store.expect("a store")))
    });
    server::serve(&runtime, router, |_| {});
}
