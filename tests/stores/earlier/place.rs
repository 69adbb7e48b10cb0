//! A store's place, whose content is a file of a release.

use std::{path::PathBuf, sync::Arc};

use idempotency::{FirestoreStore, PostgresStore, RedisStore, SqliteStore, Store};
use tempfile::TempDir;
use tests::servers::{firestore::FirestoreEmulator, postgres::PostgresServer, redis::RedisServer};

use super::{firestore, postgres, redis, sqlite};
use crate::{firestore::unused_project, install_crypto_provider};

/// The stores that outlive a process.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Sqlite,
    Postgres,
    Redis,
    Firestore,
}

impl Kind {
    /// The name of its file in the folder of a release.
    pub(super) fn file(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite.bin",
            Self::Postgres => "postgres.sql",
            Self::Redis => "redis.txt",
            Self::Firestore => "firestore.json",
        }
    }
}

/// A place of its own for the records of one test.
pub(super) enum Place {
    Sqlite(TempDir),
    /// The server, and the URL of a database.
    Postgres(&'static PostgresServer, String),
    Redis(RedisServer),
    /// The emulator, and the name of a project.
    Firestore(&'static FirestoreEmulator, String),
}

impl Place {
    /// One without records; `None` where the server is not installed.
    pub(super) async fn new(kind: Kind) -> Option<Self> {
        install_crypto_provider();
        Some(match kind {
            Kind::Sqlite => Self::Sqlite(tempfile::tempdir().expect("a folder")),
            Kind::Postgres => {
                let server = PostgresServer::shared()?;
                Self::Postgres(server, server.database().await)
            }
            Kind::Redis => Self::Redis(RedisServer::start(&[])?),
            Kind::Firestore => Self::Firestore(FirestoreEmulator::shared()?, unused_project()),
        })
    }

    /// The store, opened as a program does it after an upgrade.
    pub(super) async fn open(&self) -> Arc<dyn Store> {
        match self {
            Self::Sqlite(folder) => Arc::new(SqliteStore::open(file(folder)).expect("a store")),
            Self::Postgres(_, url) => {
                let store = PostgresStore::connect(url).await.expect("a store");
                store.create_schema().await.expect("the schema");
                Arc::new(store)
            }
            Self::Redis(server) => {
                Arc::new(RedisStore::connect(&server.url()).await.expect("a store"))
            }
            Self::Firestore(emulator, project) => {
                let address = emulator.address();
                let store = FirestoreStore::connect_to_emulator(project, &address).await;
                Arc::new(store.expect("a store"))
            }
        }
    }

    /// Everything that is stored there.
    pub(super) async fn save(&self) -> Vec<u8> {
        match self {
            Self::Sqlite(folder) => sqlite::save(&file(folder)),
            Self::Postgres(server, url) => postgres::save(server, url),
            Self::Redis(server) => redis::save(server),
            Self::Firestore(emulator, project) => firestore::save(emulator, project).await,
        }
    }

    /// Stores what was saved elsewhere.
    pub(super) async fn restore(&self, records: &[u8]) {
        match self {
            Self::Sqlite(folder) => sqlite::restore(&file(folder), records),
            Self::Postgres(_, url) => postgres::restore(url, records).await,
            Self::Redis(server) => redis::restore(server, records),
            Self::Firestore(emulator, project) => {
                firestore::restore(emulator, project, records).await;
            }
        }
    }
}

fn file(folder: &TempDir) -> PathBuf {
    folder.path().join("records.db")
}
