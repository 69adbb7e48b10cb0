//! Opens the databases that the options name.

use std::{num::NonZeroUsize, sync::Arc};

use async_trait::async_trait;
use idempotency::{MemoryStore, Store};

use super::{Bookings, DatabaseError, memory::Memory};
use crate::{
    config::{Config, DatabaseUrl, StoreUrl},
    secret::{self, SecretError, SecretFiles, Secrets},
};

/// Bookings and keys, as the options name them.
pub(crate) struct Opened {
    pub(crate) bookings: Arc<dyn Bookings>,
    pub(crate) store: Arc<dyn Store>,
    /// Whether a booking's transaction can carry its key.
    pub(crate) transactional: bool,
    /// The secret with which the keys are stored, and the other one while it is being changed.
    pub(crate) secrets: Secrets,
}

/// Keys without the bookings.
pub(crate) struct OpenedKeys {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) secrets: Secrets,
}

/// Why they cannot be opened, with the value of the option.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The bookings' database.
    Database(String, DatabaseError),
    /// The store of the keys.
    IdempotencyStore(String, DatabaseError),
    /// The limit of that store.
    Limit(usize, DatabaseError),
    /// The secret of the keys.
    Secret(SecretError),
}

impl OpenError {
    /// Whether another process has the file open.
    pub(crate) const fn is_in_use(&self) -> bool {
        #[cfg(feature = "sqlite")]
        return matches!(
            self,
            Self::Database(_, DatabaseError::InUse)
                | Self::IdempotencyStore(_, DatabaseError::InUse)
        );
        #[cfg(not(feature = "sqlite"))]
        false
    }
}

/// What `--idempotency-store` names, before it is opened.
#[async_trait]
pub(super) trait KeyDatabase: Send + Sync {
    /// Fails if the network could read the server's password. Nothing has been sent yet.
    fn check(&self) -> Result<(), DatabaseError> {
        Ok(())
    }

    /// Whether the store may have keys: without the tables for them it has none. Creates nothing.
    async fn may_have_keys(&self) -> Result<bool, DatabaseError> {
        Ok(true)
    }

    /// Connects and creates the tables of the keys.
    async fn open_keys(&self) -> Result<Box<dyn Keys>, DatabaseError>;
}

/// What `--database` names, before it is opened.
#[async_trait]
pub(super) trait Database: KeyDatabase {
    /// Connects and creates all tables. The keys are in the same database.
    async fn open(&self) -> Result<(Arc<dyn Bookings>, Box<dyn Keys>), DatabaseError>;
}

/// An open store, before its secret is known.
#[async_trait]
pub(super) trait Keys: Send + Sync {
    fn into_store(self: Box<Self>) -> Arc<dyn Store>;

    /// The same store with this many bytes at most.
    fn with_limit(self: Box<Self>, _bytes: usize) -> Result<Box<dyn Keys>, DatabaseError> {
        let text = "a server has its own limits; this option is for keys in a file and in memory";
        Err(DatabaseError::Client(text.into()))
    }

    /// The secrets for these keys, from the files that the options name. On a server all services need the same secret, so
    /// it must be in such a file. With `may_make` a store without keys gets a secret now, and the store may record
    /// which one it has.
    async fn secrets(&self, files: &SecretFiles, _may_make: bool) -> Result<Secrets, SecretError> {
        secret::of_server(files)
    }
}

const NO_FILE: &str = "there is no such file";

const IN_MEMORY: &str = "keys in memory exist only in the process of the running service: ask it, at /admin/keys or by --service";

/// Opens the databases that the options name.
///
/// With `--idempotency-store same` a booking, its key and its response are one commit, if the database has transactions.
/// Otherwise the key is claimed before the booking and completed after it, under a lease.
pub(crate) async fn open(config: &Config) -> Result<Opened, OpenError> {
    open_with(config, true).await
}

/// The same without creating a file or a secret.
pub(crate) async fn open_existing(config: &Config) -> Result<Opened, OpenError> {
    let is_missing = || DatabaseError::Client(NO_FILE.into());
    if let DatabaseUrl::Sqlite(path) = &config.database
        && !path.exists()
    {
        return Err(OpenError::Database(
            config.database.to_string(),
            is_missing(),
        ));
    }
    if let StoreUrl::Sqlite(path) = &config.idempotency_store
        && !path.exists()
    {
        let store = config.idempotency_store.to_string();
        return Err(OpenError::IdempotencyStore(store, is_missing()));
    }
    open_with(config, false).await
}

async fn open_with(config: &Config, may_make: bool) -> Result<Opened, OpenError> {
    let of_database = |error| OpenError::Database(config.database.to_string(), error);
    let of_store = |error| OpenError::IdempotencyStore(config.idempotency_store.to_string(), error);

    let database = database(&config.database).map_err(of_database)?;
    let store = match &config.idempotency_store {
        StoreUrl::Same => None,
        // The same file cannot be opened twice.
        StoreUrl::Sqlite(path) if config.database == DatabaseUrl::Sqlite(path.clone()) => None,
        keys => Some(key_database(keys).map_err(of_store)?),
    };
    database.check().map_err(of_database)?;
    if let Some(store) = &store {
        store.check().map_err(of_store)?;
    }
    let (bookings, same) = database.open().await.map_err(of_database)?;
    let keys = match store {
        None => same,
        Some(store) => store.open_keys().await.map_err(of_store)?,
    };
    let keys = match config.idempotency_store_limit.map(NonZeroUsize::get) {
        None => keys,
        Some(bytes) => keys
            .with_limit(bytes)
            .map_err(|error| OpenError::Limit(bytes, error))?,
    };
    let files = config.rotation.with(config.secret_file.as_deref());
    let secrets = keys.secrets(&files, may_make).await;
    Ok(Opened {
        bookings,
        secrets: secrets.map_err(OpenError::Secret)?,
        store: keys.into_store(),
        transactional: config.idempotency_store == StoreUrl::Same
            && config.database != DatabaseUrl::Memory,
    })
}

/// Opens the store of the keys, which must exist: a store created under a mistyped name would look like an empty one. A database
/// without the tables of keys is left without them and treated as an empty store.
pub(crate) async fn open_keys(
    bookings: &DatabaseUrl,
    keys: &StoreUrl,
    files: &SecretFiles,
) -> Result<OpenedKeys, OpenError> {
    let url = match keys {
        StoreUrl::Same => bookings.to_string(),
        keys => keys.to_string(),
    };
    let failed = |error| match keys {
        StoreUrl::Same => OpenError::Database(url.clone(), error),
        _ => OpenError::IdempotencyStore(url.clone(), error),
    };
    let file = match (bookings, keys) {
        (_, StoreUrl::Memory) | (DatabaseUrl::Memory, StoreUrl::Same) => {
            return Err(failed(DatabaseError::Client(IN_MEMORY.into())));
        }
        (_, StoreUrl::Sqlite(path)) | (DatabaseUrl::Sqlite(path), StoreUrl::Same) => Some(path),
        _ => None,
    };
    if file.is_some_and(|path| !path.exists()) {
        return Err(failed(DatabaseError::Client(NO_FILE.into())));
    }
    let database: Box<dyn KeyDatabase> = match keys {
        StoreUrl::Same => database(bookings).map_err(failed)?,
        keys => key_database(keys).map_err(failed)?,
    };
    database.check().map_err(failed)?;
    if !database.may_have_keys().await.map_err(failed)? {
        tracing::warn!("{url} has no table of keys: no service has stored any there");
        return Ok(OpenedKeys {
            store: Arc::new(MemoryStore::new()),
            secrets: Secrets {
                own: None,
                other: None,
            },
        });
    }
    let keys = database.open_keys().await.map_err(failed)?;
    let secrets = keys
        .secrets(files, false)
        .await
        .map_err(OpenError::Secret)?;
    Ok(OpenedKeys {
        store: keys.into_store(),
        secrets,
    })
}

/// The database of this type and URL, or an error that names the feature if it is not compiled in.
macro_rules! if_compiled_in {
    ($feature:literal, $module:ident::$database:ident($url:ident)) => {{
        #[cfg(feature = $feature)]
        {
            Ok(Box::new(super::$module::$database($url.clone())))
        }
        #[cfg(not(feature = $feature))]
        {
            let _ = $url;
            let text = concat!(
                "this program is built without the feature ",
                $feature,
                "; build it with --features ",
                $feature
            );
            Err(DatabaseError::Client(text.into()))
        }
    }};
}

fn database(url: &DatabaseUrl) -> Result<Box<dyn Database>, DatabaseError> {
    match url {
        DatabaseUrl::Memory => Ok(Box::new(Memory)),
        DatabaseUrl::Sqlite(path) => if_compiled_in!("sqlite", sqlite::SqliteFile(path)),
        DatabaseUrl::Postgres(url) => if_compiled_in!("postgres", postgres::PostgresServer(url)),
        DatabaseUrl::Firestore(project) => {
            if_compiled_in!("firestore", firestore::FirestoreProject(project))
        }
    }
}

fn key_database(url: &StoreUrl) -> Result<Box<dyn KeyDatabase>, DatabaseError> {
    match url {
        StoreUrl::Same => unreachable!("the bookings' database has them"),
        StoreUrl::Memory => Ok(Box::new(Memory)),
        StoreUrl::Sqlite(path) => if_compiled_in!("sqlite", sqlite::SqliteFile(path)),
        StoreUrl::Postgres(url) => if_compiled_in!("postgres", postgres::PostgresServer(url)),
        StoreUrl::Redis(url) => if_compiled_in!("redis", redis::RedisServer(url)),
        StoreUrl::Firestore(project) => {
            if_compiled_in!("firestore", firestore::FirestoreProject(project))
        }
    }
}
