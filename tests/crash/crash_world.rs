//! A database and the services over it.

use std::{path::PathBuf, time::Duration};

use tempfile::TempDir;
use tests::{
    proxy::Proxy,
    servers::{firestore::FirestoreEmulator, free_port, postgres::PostgresServer},
};
use tokio::sync::Mutex;

use crate::{
    bookings::{Bookings, in_firestore, in_postgres, in_sqlite},
    process::{Process, Start},
    rng::Rng,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
    Firestore,
}

/// What serves the bookings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// core-api, whose bookings carry their keys.
    Transactional,
    /// A service whose bookings carry their keys, with transactions of sqlx 0.8.
    Sqlx08,
    /// The same, with those of tokio-postgres.
    TokioPostgres,
    /// A service whose keys have leases of a second, and whose bookings complete them.
    Lease,
    /// The same without fencing.
    Unfenced,
    /// The same with bookings that are committed before their keys.
    SecondCommit,
    /// The same with leases of a minute and without kills: abandoned holds are released.
    LongLease,
    /// That, but abandoned holds are not released.
    KeepsClaims,
    /// That, but claims take keys from their owners.
    Steals,
}

/// Services that share a database, as many as it can have.
#[derive(Debug)]
pub(crate) struct CrashWorld {
    pub(crate) services: Vec<Service>,
    database: Database,
    folder: TempDir,
}

#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) address: String,
    pub(crate) process: Mutex<Process>,
    /// The proxy between it and its database, if there is a network.
    pub(crate) proxy: Option<Proxy>,
}

#[derive(Debug)]
enum Database {
    Sqlite(PathBuf),
    Postgres(Box<Mutex<PostgresServer>>, String),
    Firestore(&'static FirestoreEmulator, String),
}

impl Mode {
    /// Whether services are killed.
    pub(crate) const fn is_deadly(self) -> bool {
        match self {
            Self::Transactional
            | Self::Sqlx08
            | Self::TokioPostgres
            | Self::Lease
            | Self::Unfenced
            | Self::SecondCommit => true,
            Self::LongLease | Self::KeepsClaims | Self::Steals => false,
        }
    }

    /// How long a dead owner may hold a key.
    pub(crate) const fn lease(self) -> Duration {
        match self {
            Self::Lease | Self::Unfenced | Self::SecondCommit => Duration::from_secs(1),
            // There are no leases, or no service dies.
            Self::Transactional
            | Self::Sqlx08
            | Self::TokioPostgres
            | Self::LongLease
            | Self::KeepsClaims
            | Self::Steals => Duration::ZERO,
        }
    }
}

impl CrashWorld {
    /// `None` where there is no such server.
    pub(crate) async fn start(kind: Kind, mode: Mode, rng: &mut Rng) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let database = match kind {
            Kind::Sqlite => Database::Sqlite(folder.path().join("bookings.db")),
            Kind::Postgres => {
                let server = PostgresServer::start_durable()?;
                let url = server.database().await;
                Database::Postgres(Box::new(Mutex::new(server)), url)
            }
            Kind::Firestore => {
                let project = format!("crash-{:x}", rng.next());
                Database::Firestore(FirestoreEmulator::shared()?, project)
            }
        };
        let mut world = Self {
            services: Vec::new(),
            database,
            folder,
        };
        let services = match kind {
            // One process at a time has the file.
            Kind::Sqlite => 1,
            Kind::Postgres | Kind::Firestore => 2,
        };
        for number in 0..services {
            world.services.push(world.service(mode, number).await);
        }
        Some(world)
    }

    async fn service(&self, mode: Mode, number: usize) -> Service {
        let address = format!("127.0.0.1:{}", free_port());
        let (url, variables, proxy) = match &self.database {
            Database::Sqlite(path) => (format!("sqlite:{}", path.display()), vec![], None),
            Database::Postgres(_, url) => {
                let (server, name) = url.rsplit_once('/').expect("a database");
                let (user, server) = server.split_once('@').expect("a user");
                let proxy = Proxy::to(server.parse().expect("an address")).await;
                let url = format!("{user}@{}/{name}", proxy.address());
                (url, vec![], Some(proxy))
            }
            Database::Firestore(emulator, project) => {
                let proxy = Proxy::to(emulator.address().parse().expect("an address")).await;
                let host = vec![("FIRESTORE_EMULATOR_HOST", proxy.address().to_string())];
                (format!("firestore://{project}"), host, Some(proxy))
            }
        };
        let core_api = env!("CARGO_BIN_EXE_core-api-under-test");
        let own_service = env!("CARGO_BIN_EXE_crash-service");
        let (program, rest): (_, &[&str]) = match mode {
            Mode::Transactional => (core_api, &["--fault-injection"]),
            Mode::Sqlx08 => (own_service, &["--transactional", "--client", "sqlx08"]),
            Mode::TokioPostgres => (
                own_service,
                &["--transactional", "--client", "tokio-postgres"],
            ),
            Mode::Lease => (own_service, &[]),
            Mode::Unfenced => (own_service, &["--broken", "unfenced"]),
            Mode::SecondCommit => (own_service, &["--broken", "second-commit"]),
            Mode::LongLease => (own_service, &["--long-lease"]),
            Mode::Steals => (own_service, &["--long-lease", "--broken", "steals"]),
            Mode::KeepsClaims => (own_service, &["--long-lease", "--broken", "keeps-claims"]),
        };
        let mut arguments = vec!["--listen", &address, "--database", &url];
        let runs = self.runs();
        if program == own_service {
            arguments.extend(["--runs", runs.to_str().expect("a path in UTF-8")]);
        }
        let start = Start {
            program,
            arguments: arguments
                .iter()
                .chain(rest)
                .map(ToString::to_string)
                .collect(),
            variables,
            log: self.folder.path().join(format!("{number}.log")),
        };
        Service {
            address,
            process: Mutex::new(Process::start(start).await),
            proxy,
        }
    }

    /// Lets through all that is held back between services and database, and holds back nothing more.
    pub(crate) fn let_everything_through(&self) {
        for proxy in self.proxies() {
            proxy.let_everything_through();
        }
    }

    /// How many replies of the database have been delayed so far.
    pub(crate) fn late_replies(&self) -> usize {
        self.proxies().map(Proxy::delayed_replies).sum()
    }

    fn proxies(&self) -> impl Iterator<Item = &Proxy> {
        self.services
            .iter()
            .filter_map(|service| service.proxy.as_ref())
    }

    /// Kills the database's server too, if it is one that keeps what it has acknowledged; false otherwise.
    pub(crate) async fn kill_server(&self) -> bool {
        let Database::Postgres(server, _) = &self.database else {
            return false;
        };
        let mut server = server.lock().await;
        server.stop();
        server.restart();
        drop(server.connect().await);
        true
    }

    /// The database's contents: bookings, and how many runs have not ended.
    pub(crate) async fn look(&self) -> (Bookings, usize) {
        match &self.database {
            Database::Sqlite(path) => in_sqlite(path),
            Database::Postgres(_, url) => in_postgres(url).await,
            Database::Firestore(emulator, project) => {
                in_firestore(&emulator.address(), project).await
            }
        }
    }

    /// Where the services note their runs.
    pub(crate) fn runs(&self) -> PathBuf {
        self.folder.path().join("runs")
    }

    /// The folder with the logs, and the database if it is a file. The folder is not removed.
    pub(crate) fn keep(self) -> PathBuf {
        self.folder.keep()
    }
}
