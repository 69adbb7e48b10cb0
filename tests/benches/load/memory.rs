//! Server CPU of first executions and of replays on the memory store.

use idempotency::{Idempotency, MemoryStore};

use crate::{
    Effort,
    client::{Client, Keys, Load, Until},
    report,
    server::{self, Server},
    service::{self, BARE, Bookings, PROTECTED},
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
    let completed = client.completed_keys(PROTECTED, 1000).await;
    let loads = [
        (BARE, Keys::Fresh),
        (PROTECTED, Keys::Fresh),
        (PROTECTED, completed),
    ]
    .map(|(path, keys)| Load { path, keys });
    let requests = Until::Requests(if effort.quick { 1000 } else { 20_000 });

    let mut costs = [const { Vec::new() }; 3];
    // The first round warms up.
    for round in 0..=effort.rounds {
        for (load, costs) in loads.iter().zip(&mut costs) {
            let before = server.cpu();
            let answers = client.send(load, requests).await.answers;
            let used = server.cpu() - before;
            if round > 0 {
                costs.push(report::microseconds(used) / answers as f64);
            }
        }
    }
    let [bare, first, replay] = costs;
    report::ratios("first execution", &first, &bare);
    report::ratios("replay", &replay, &bare);
    report::line("the handler without the attribute", bare, " µs");
}

pub(crate) fn serve(workers: usize) {
    let idempotency = Idempotency::new(MemoryStore::new());
    let router = service::router(Bookings::Memory(<_>::default()), idempotency);
    server::serve(&server::runtime(workers), router, |_| {});
}
