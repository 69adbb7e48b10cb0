//! The secret of keys in an SQLite file, which only this process has open.

use std::{
    fs::canonicalize,
    path::{Path, PathBuf},
};

use idempotency::{Idempotency, IdempotencyKey, Scope, SqliteStore, Store, store::ListRequest};
use rusqlite::{Connection, OptionalExtension};

use super::{Failure, Secret, SecretError, WITHOUT_SECRET, file::SecretFile};

/// The file of the secret has the name of the database with this at its end.
const SUFFIX: &str = ".secret";

/// One row, once keys are stored with a secret: a digest that only this secret makes.
const CREATE: &str = "create table if not exists core_api_secret (verifier blob not null) strict";
const FIND: &str = "select verifier from core_api_secret";
const INSERT: &str = "insert into core_api_secret (verifier) values (?1)";

/// The secret in the named file, or in one next to the database. The file is made where that loses no key, unless it is only to be
/// found.
pub(crate) async fn of_database(
    store: &SqliteStore,
    database: &Path,
    named: Option<&Path>,
    may_make: bool,
) -> Result<Option<Secret>, SecretError> {
    let file = match named {
        Some(path) => SecretFile::named(path),
        None => next_to(database)?,
    };
    let secret = secret_in(store, &file, may_make).await;
    secret.map_err(|source| SecretError {
        path: file.path().to_owned(),
        source,
    })
}

/// By the database's name without symbolic links, as for its lock and its log.
fn next_to(database: &Path) -> Result<SecretFile, SecretError> {
    let path = |database: &Path| {
        let mut path = database.as_os_str().to_owned();
        path.push(SUFFIX);
        PathBuf::from(path)
    };
    match canonicalize(database) {
        Ok(database) => Ok(SecretFile::generated(path(&database))),
        Err(error) => Err(SecretError {
            path: path(database),
            source: error.into(),
        }),
    }
}

async fn secret_in(
    store: &SqliteStore,
    file: &SecretFile,
    may_make: bool,
) -> Result<Option<Secret>, Failure> {
    let find = |connection: &Connection| {
        connection.execute_batch(CREATE)?;
        let found = connection.query_row(FIND, [], |row| row.get(0));
        found.optional()
    };
    let stored: Option<Vec<u8>> = store.database().write(find).await?;
    if let Some(stored) = stored {
        let secret = file.read()?.ok_or(
            "there is no such file, and without it no key in the database is found, so that retries would run again; put it back",
        )?;
        if verifier(&secret, store)? != stored {
            return Err("it is not the secret that the keys in the database are stored with; put that one back".into());
        }
        return Ok(Some(secret));
    }
    // A command may lack an option that the service has, and would make another secret than that of the service.
    if !may_make {
        return Ok(None);
    }
    if !store.list(&ListRequest::new(1)).await?.is_empty() {
        tracing::warn!(
            "the keys in the database are stored without a secret, as the previous version did, and so are new ones, because with a \
             secret the old ones would not be found: {WITHOUT_SECRET}; the first start that finds no live key makes a secret",
        );
        return Ok(None);
    }
    let secret = file.read_or_make()?;
    // Before the first key: from now on there is no start without this secret.
    let made = verifier(&secret, store)?;
    let insert = move |connection: &Connection| connection.execute(INSERT, [made]);
    store.database().write(insert).await?;
    Ok(Some(secret))
}

/// Identifies a secret without revealing it.
fn verifier(secret: &Secret, store: &SqliteStore) -> Result<Vec<u8>, Failure> {
    let digests = Idempotency::builder(store.clone())
        .with_namespace("core-api's secret")
        .with_secret(&secret.0)
        .build();
    let key = IdempotencyKey::new("verifier")?;
    let id = digests.record_id(&Scope::anonymous(), &key);
    Ok(id.as_bytes().to_vec())
}
