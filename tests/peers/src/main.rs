//! Compares this project with other libraries: what protection costs, and what it protects from.
//!
//! Each server has the same handler, at `POST /bookings`, once alone and once behind each library. What a library costs is a ratio
//! to its own framework alone. The slices of both are interleaved, so that a machine that becomes slower makes both slower.
//!
//! Without arguments it writes `RESULTS.md` and the charts. With arguments, which are parts of servers' names, it prints the tables
//! of these servers and writes nothing.

mod chart;
mod checks;
mod connection;
mod load;
mod peer;
mod postgres;
mod report;
mod request;
mod server;
mod slices;
mod tools;

use std::{env, fs, path::Path, thread};

use checks::Checks;
use peer::{PEERS, Peer};
use postgres::Postgres;
use server::{Cpus, Server};
use slices::Costs;
use tools::Tools;

/// What was found out about one server.
struct Found {
    peer: &'static Peer,
    costs: Result<Costs, String>,
    checks: Result<Checks, String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let parts: Vec<String> = env::args().skip(1).collect();
    let is_chosen = |name: &str| parts.is_empty() || parts.iter().any(|part| name.contains(part));
    let chosen: Vec<_> = PEERS.iter().filter(|peer| is_chosen(peer.name)).collect();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    assert!(cores > 1, "servers and clients need a core each");

    let mut tools = Tools::default();
    for peer in &chosen {
        tools.build(peer.plain);
        tools.build(peer.program);
    }
    server::confine_this_process();
    let postgres = Postgres::start();
    let mut found = Vec::new();
    for peer in chosen {
        eprintln!("{}", peer.name);
        let checks = check(peer, &tools, &postgres).await;
        let costs = measure(peer, &tools, &postgres).await;
        let problems = [costs.as_ref().err(), checks.as_ref().err()];
        for problem in problems.into_iter().flatten() {
            eprintln!("NOT DONE: {}: {problem}", peer.name);
        }
        found.push(Found {
            peer,
            costs,
            checks,
        });
    }
    let text = report::text(&found, cores);
    println!("{text}");
    if parts.is_empty() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        fs::write(folder.join("RESULTS.md"), text).expect("the folder of this package");
        for (file, chart) in report::charts(&found) {
            fs::write(folder.join(file), chart).expect("the folder of this package");
        }
    }
}

async fn check(
    peer: &'static Peer,
    tools: &Tools,
    postgres: &Result<Postgres, String>,
) -> Result<Checks, String> {
    let server = Server::start(peer, peer.program, Cpus::All, tools, postgres).await?;
    checks::run(&server).await
}

async fn measure(
    peer: &'static Peer,
    tools: &Tools,
    postgres: &Result<Postgres, String>,
) -> Result<Costs, String> {
    let plain = Server::start(peer, peer.plain, Cpus::OfServers, tools, postgres).await?;
    let protected = Server::start(peer, peer.program, Cpus::OfServers, tools, postgres).await?;
    slices::measure(peer, &plain, &protected).await
}
