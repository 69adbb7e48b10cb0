//! Server CPU of first executions and of replays on the memory store.

use idempotency::{Idempotency, MemoryStore};

use crate::{
    Effort,
    bookings::Bookings,
    client::{Client, Load, Until},
    report,
    server::{self, Server},
    service::{self, BARE, PROTECTED},
    turns,
};

const CONNECTIONS: usize = 16;

pub(crate) async fn measure(effort: Effort) {
    for (workers, name) in [("1", "one worker"), ("2", "two workers")] {
        report::title(&format!(
            "Memory store, {name}: server CPU of a request, as a ratio to the handler without the attribute"
        ));
        measure_with(workers, effort).await;
    }
}

async fn measure_with(workers: &str, effort: Effort) {
    let mut server = Server::start(&["memory", workers]);
    let mut client = Client::connect(server.address(), CONNECTIONS).await;
    let loads = [
        Load::fresh(BARE),
        Load::fresh(PROTECTED),
        client.replays(PROTECTED, 1000).await,
    ];
    let requests = Until::Requests(if effort.quick { 1000 } else { 20_000 });
    let [bare, first, replay] =
        turns::measure(&server, &mut client, &loads, requests, effort.rounds).await;
    report::ratios("first execution", &first.costs, &bare.costs);
    report::ratios("replay", &replay.costs, &bare.costs);
    report::line("the handler without the attribute", bare.costs, " µs");
}

pub(crate) fn serve(workers: usize) {
    let idempotency = Idempotency::new(MemoryStore::new());
    let router = service::router(Bookings::Memory(<_>::default()), idempotency);
    server::serve(&server::runtime(workers), router, |_| {});
}
