//! What protection costs under load: `cargo bench -p tests --bench load`.
//!
//! Every result is a ratio to, or is shown next to, the same service without protection in the same run, because times
//! of one machine mean nothing on another. `-- sqlite postgres` selects parts, and `-- --quick` only shows that all parts
//! work. `-- --latency` measures the times of single requests instead, and with `--beside=PROGRAM` those of another build of this
//! program too, in turns.

mod bookings;
mod client;
mod counts;
mod cpu;
mod firestore;
mod latency;
mod memory;
mod plain;
mod postgres;
mod redis;
mod report;
mod request;
mod server;
mod service;
mod size;
mod sqlite;
mod stalls;
mod turns;
mod wire;

use std::{env, path::PathBuf};

use tokio::runtime::Builder;

const PARTS: [&str; 7] = [
    "memory",
    "size",
    "stalls",
    "sqlite",
    "postgres",
    "redis",
    "firestore",
];

/// How much is measured.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    pub(crate) quick: bool,
}

fn main() {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = env::args().skip(1).filter(|it| it != "--bench").collect();
    if let Some((server::SERVE, what)) = arguments.split_first().map(|(it, rest)| (&**it, rest)) {
        return server::run(what);
    }
    let (mut parts, mut beside) = (Vec::new(), None);
    let (mut quick, mut latency) = (false, false);
    for argument in &arguments {
        match argument.as_str() {
            "--quick" => quick = true,
            "--latency" => latency = true,
            part if PARTS.contains(&part) => parts.push(part),
            other => match other.strip_prefix("--beside=") {
                Some(program) => beside = Some(PathBuf::from(program)),
                None => panic!("`{other}` is no option and none of the parts {PARTS:?}"),
            },
        }
    }
    assert!(
        latency || beside.is_none(),
        "`--beside` is for `--latency` only"
    );
    let rounds = if quick { 1 } else { 7 };
    let effort = Effort { rounds, quick };
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        for part in PARTS {
            if !parts.is_empty() && !parts.contains(&part) {
                continue;
            }
            match part {
                _ if latency => latency::measure(part, effort, beside.clone()).await,
                "memory" => memory::measure(effort).await,
                "size" => size::measure(effort),
                "stalls" => stalls::measure(effort).await,
                "sqlite" => sqlite::measure(effort).await,
                "postgres" => postgres::measure(effort).await,
                "redis" => redis::measure(effort).await,
                _ => firestore::measure(effort).await,
            }
        }
    });
}
