//! How long single requests take with one client, and with 64: on each store, beside the same service without keys, and beside the same
//! service of another build of this program.

use std::{env, fs, path::PathBuf, time::Duration};

use tests::servers::{firestore::FirestoreEmulator, postgres::PostgresServer, redis::RedisServer};

use crate::{
    Effort,
    client::{Client, Load, Until},
    plain::{ATTRIBUTE, PLAIN},
    report,
    server::Server,
    service::{BARE, PROTECTED, TRANSACTIONAL},
};

const CONNECTIONS: [usize; 2] = [1, 64];

/// This program, and the other one.
struct Programs {
    paths: Vec<PathBuf>,
    effort: Effort,
}

/// A process of one of the programs.
struct Service {
    clients: [Client; CONNECTIONS.len()],
    loads: Vec<Load>,
    _server: Server,
}

/// Of one service, under one load, with so many connections: a value for each round.
#[derive(Default)]
struct Latencies {
    p50: Vec<f64>,
    p99: Vec<f64>,
}

/// The handler without keys, and those with them.
struct Paths {
    bare: &'static str,
    protected: &'static [(&'static str, &'static str)],
}

const LEASED: Paths = Paths {
    bare: BARE,
    protected: &[("leased", PROTECTED)],
};

const BOTH_MODES: Paths = Paths {
    bare: BARE,
    protected: &[("leased", PROTECTED), ("transactional", TRANSACTIONAL)],
};

const IN_MEMORY: Paths = Paths {
    bare: PLAIN,
    protected: &[("attribute", ATTRIBUTE)],
};

/// Measures one of the stores, on a database of each program's own.
pub(crate) async fn measure(part: &str, effort: Effort, beside: Option<PathBuf>) {
    let this = env::current_exe().expect("the path of this program");
    let paths: Vec<_> = [this.clone()].into_iter().chain(beside).collect();
    let programs = Programs { paths, effort };
    match part {
        "memory" => {
            let servers = programs.start(|_| vec!["memory".into(), "2".into()]);
            programs.measure(part, servers, &IN_MEMORY).await;
        }
        "sqlite" => {
            let folder = tempfile::tempdir_in(this.parent().expect("its folder"));
            let folder = folder.expect("a folder");
            let servers = programs.start(|number| {
                let files = folder.path().join(number.to_string());
                fs::create_dir(&files).expect("a folder");
                vec!["sqlite".into(), files.to_str().expect("UTF-8").into()]
            });
            programs.measure(part, servers, &BOTH_MODES).await;
        }
        "postgres" => {
            let Some(database) = PostgresServer::start_durable() else {
                return;
            };
            let mut urls = Vec::new();
            for _ in &programs.paths {
                urls.push(database.database().await);
            }
            let servers = programs.start(|number| vec!["postgres".into(), urls[number].clone()]);
            programs.measure(part, servers, &BOTH_MODES).await;
        }
        "redis" => {
            let databases = programs.paths.iter().map(|_| RedisServer::start(&[]));
            let Some(databases) = databases.collect::<Option<Vec<_>>>() else {
                return;
            };
            let servers = programs.start(|number| vec!["redis".into(), databases[number].url()]);
            programs.measure(part, servers, &LEASED).await;
        }
        "firestore" => {
            let Some(emulator) = FirestoreEmulator::start() else {
                return;
            };
            let servers = programs.start(|number| {
                let project = format!("latency-{number}");
                vec!["firestore".into(), project, emulator.address()]
            });
            programs.measure(part, servers, &LEASED).await;
        }
        // The others have no requests of which the latency says anything.
        _ => {}
    }
}

impl Programs {
    /// A server of each program, with the arguments for its number.
    fn start(&self, arguments: impl Fn(usize) -> Vec<String>) -> Vec<Server> {
        let start = |(number, path): (usize, &PathBuf)| {
            let arguments = arguments(number);
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            Server::start_of(path, &arguments)
        };
        self.paths.iter().enumerate().map(start).collect()
    }

    async fn measure(&self, store: &str, servers: Vec<Server>, paths: &Paths) {
        report::title(&format!(
            "{store}: the time of a request with one connection, and with 64"
        ));
        let mut services = Vec::new();
        for server in servers {
            services.push(Service::of(server, paths, self.effort).await);
        }
        for (number, connections) in CONNECTIONS.iter().enumerate() {
            for (load, name) in names(paths).iter().enumerate() {
                let name = format!("{connections}, {name}");
                let latencies = self.rounds(&mut services, number, load).await;
                Latencies::report(&name, &latencies);
            }
        }
    }

    /// The services take turns, so that both sides of a ratio had the same machine at the same time.
    async fn rounds(
        &self,
        services: &mut [Service],
        clients: usize,
        load: usize,
    ) -> Vec<Latencies> {
        let time = Duration::from_millis(if self.effort.quick { 50 } else { 400 });
        let mut all: Vec<_> = services.iter().map(|_| Latencies::default()).collect();
        for round in 0..=self.effort.rounds {
            for turn in 0..services.len() {
                let chosen = (round + turn) % services.len();
                let service = &mut services[chosen];
                let load = service.loads[load].clone();
                let client = &mut service.clients[clients];
                let mut sent = client.send(&load, Until::Passed(time)).await.latencies;
                if round > 0 {
                    sent.sort_unstable();
                    all[chosen].add(&sent);
                }
            }
        }
        all
    }
}

impl Service {
    async fn of(mut server: Server, paths: &Paths, effort: Effort) -> Self {
        let address = server.address();
        let mut clients = [
            Client::connect(address, CONNECTIONS[0]).await,
            Client::connect(address, CONNECTIONS[1]).await,
        ];
        let completed = if effort.quick { 20 } else { 200 };
        let mut loads = vec![Load::without_keys(paths.bare)];
        for (_, path) in paths.protected {
            loads.push(Load::fresh(path));
            loads.push(clients[0].replays(path, completed).await);
        }
        Self {
            clients,
            loads,
            _server: server,
        }
    }
}

impl Latencies {
    fn add(&mut self, sorted: &[Duration]) {
        let at = |hundredth: usize| report::milliseconds(sorted[sorted.len() * hundredth / 100]);
        self.p50.push(at(50));
        self.p99.push(at(99));
    }

    /// Those of this program, and as ratios to those of the other one.
    fn report(name: &str, all: &[Self]) {
        let [this, others @ ..] = all else { return };
        report::line(&format!("{name}: p50"), this.p50.clone(), " ms");
        report::line(&format!("{name}: p99"), this.p99.clone(), " ms");
        for other in others {
            let name = format!("{name}, to the other program");
            report::ratios(&format!("{name}: p50"), &this.p50, &other.p50);
            report::ratios(&format!("{name}: p99"), &this.p99, &other.p99);
        }
    }
}

/// Those of the loads.
fn names(paths: &Paths) -> Vec<String> {
    let protected = paths.protected.iter().flat_map(|(mode, _)| {
        [
            format!("{mode}, first execution"),
            format!("{mode}, replay"),
        ]
    });
    let bare = ["without keys".to_owned()];
    bare.into_iter().chain(protected).collect()
}
