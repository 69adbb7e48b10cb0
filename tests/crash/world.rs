//! A database and the services over it.

use std::path::PathBuf;

use tempfile::TempDir;
use tests::servers::{firestore::FirestoreEmulator, free_port, postgres::PostgresServer};
use tokio::sync::Mutex;

use crate::{
    bookings::{Bookings, in_firestore, in_postgres, in_sqlite},
    chance::Chance,
    process::{Process, Start},
};

#[derive(Clone, Copy, Debug)]
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
    /// A service whose keys have leases of a second, which its bookings end.
    Lease,
    /// The same without a fence.
    Unfenced,
    /// The same with bookings that are committed before their keys.
    SecondCommit,
}

/// Services that share a database, as many as it can have.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) services: Vec<Service>,
    database: Database,
    folder: TempDir,
}

#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) address: String,
    pub(crate) process: Mutex<Process>,
}

#[derive(Debug)]
enum Database {
    Sqlite(PathBuf),
    Postgres(Box<Mutex<PostgresServer>>, String),
    Firestore(&'static FirestoreEmulator, String),
}

impl World {
    /// None where there is no such server.
    pub(crate) async fn start(kind: Kind, mode: Mode, chance: &mut Chance) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let database = match kind {
            Kind::Sqlite => Database::Sqlite(folder.path().join("bookings.db")),
            Kind::Postgres => {
                let server = PostgresServer::start_durable()?;
                let url = server.database().await;
                Database::Postgres(Box::new(Mutex::new(server)), url)
            }
            Kind::Firestore => {
                let project = format!("crash-{:x}", chance.next());
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
        let (url, variables) = match &self.database {
            Database::Sqlite(path) => (format!("sqlite:{}", path.display()), vec![]),
            Database::Postgres(_, url) => (url.clone(), vec![]),
            Database::Firestore(emulator, project) => (
                format!("firestore://{project}"),
                vec![("FIRESTORE_EMULATOR_HOST", emulator.address())],
            ),
        };
        let core_api = env!("CARGO_BIN_EXE_core-api-under-test");
        let own_service = env!("CARGO_BIN_EXE_crash-service");
        let (program, rest): (_, &[&str]) = match mode {
            Mode::Transactional => (core_api, &["--fault-injection"]),
            Mode::Lease => (own_service, &[]),
            Mode::Unfenced => (own_service, &["--broken", "unfenced"]),
            Mode::SecondCommit => (own_service, &["--broken", "second-commit"]),
        };
        let arguments = ["--listen", &address, "--database", &url];
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
        }
    }

    /// Kills the database's server too, where that is one that keeps what it has acknowledged; false elsewhere.
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

    /// What is in the database: bookings, and how many runs have not ended.
    pub(crate) async fn look(&self) -> (Bookings, usize) {
        match &self.database {
            Database::Sqlite(path) => in_sqlite(path),
            Database::Postgres(_, url) => in_postgres(url).await,
            Database::Firestore(emulator, project) => {
                in_firestore(&emulator.address(), project).await
            }
        }
    }

    /// The folder with the logs, and the database if that is a file; it stays behind.
    pub(crate) fn keep(self) -> PathBuf {
        self.folder.keep()
    }
}
