//! Server CPU of requests without a key, of first executions and of replays on the memory store.

use crate::{
    Effort,
    client::{Client, Load, Until},
    plain::{self, ATTRIBUTE, LAYER, PLAIN},
    report,
    server::{self, Server},
    turns,
};

const CONNECTIONS: usize = 16;

pub(crate) async fn measure(effort: Effort) {
    for (workers, name) in [("1", "one worker"), ("2", "two workers")] {
        report::title(&format!(
            "Memory store, {name}: server CPU of a request, as a ratio to a plain handler that reads JSON and responds with JSON"
        ));
        measure_with(workers, effort).await;
    }
}

async fn measure_with(workers: &str, effort: Effort) {
    let mut server = Server::start(&["memory", workers]);
    let mut client = Client::connect(server.address(), CONNECTIONS).await;
    let loads = [
        Load::without_keys(PLAIN),
        Load::without_keys(ATTRIBUTE),
        Load::fresh(ATTRIBUTE),
        client.replays(ATTRIBUTE, 1000).await,
        Load::without_keys(LAYER),
        Load::fresh(LAYER),
        client.replays(LAYER, 1000).await,
    ];
    let requests = Until::Requests(if effort.quick { 1000 } else { 20_000 });
    let [plain, measured @ ..] =
        turns::measure(&server, &mut client, &loads, requests, effort.rounds).await;
    let names = [
        "attribute: no key",
        "attribute: first execution",
        "attribute: replay",
        "layer: no key",
        "layer: first execution",
        "layer: replay",
    ];
    for (name, measured) in names.into_iter().zip(&measured) {
        report::ratios(name, &measured.costs, &plain.costs);
    }
    report::line("the plain handler", plain.costs, " µs");
}

pub(crate) fn serve(workers: usize) {
    server::serve(&server::runtime(workers), plain::router(), |_| {});
}
