//! The secret with which keys are stored, so that a copy of the store does not give them away.

mod file;

use std::{
    error::Error,
    fs::canonicalize,
    path::{Path, PathBuf},
    sync::Arc,
};

use idempotency::{Idempotency, IdempotencyKey, ListRequest, Scope, SqliteStore, Store};
use rusqlite::OptionalExtension;
use rustls::crypto::ring;

use crate::ServerError;
use file::SecretFile;

/// What digests are keyed with. There is nothing that prints it.
pub(crate) struct Secret(Box<[u8]>);

/// Why there is no secret.
type Failure = Box<dyn Error + Send + Sync>;

/// What the name of the database ends with beside which the file is.
const BESIDE: &str = ".secret";

/// What a secret that is made has of chance.
const MADE_BYTES: usize = 32;

/// One row, once keys are stored with a secret: a digest that only this secret makes.
const CREATE: &str = "create table if not exists core_api_secret (verifier blob not null) strict";
const FIND: &str = "select verifier from core_api_secret";
const INSERT: &str = "insert into core_api_secret (verifier) values (?1)";

const WHAT_IT_MEANS: &str = "whoever has a copy of the store can guess keys, principals, passwords of Basic \
    authentication and bodies offline";

impl Secret {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn random() -> Result<[u8; MADE_BYTES], Failure> {
        let mut bytes = [0; MADE_BYTES];
        let source = ring::default_provider().secure_random;
        source
            .fill(&mut bytes)
            .map_err(|_| "the system gives no random bytes")?;
        Ok(bytes)
    }

    /// What shows that a secret is this one, without giving it away.
    fn verifier(&self, store: Arc<dyn Store>) -> Result<Vec<u8>, Failure> {
        let digests = Idempotency::builder(store)
            .with_namespace("core-api's secret")
            .with_secret(&self.0)
            .build();
        let key = IdempotencyKey::new("verifier")?;
        let id = digests.record_id(&Scope::anonymous(), &key);
        Ok(id.as_bytes().to_vec())
    }
}

/// For keys that end with the process.
pub(crate) fn of_memory() -> Result<Secret, ServerError> {
    let made = Secret::random().map_err(|error| ServerError::Secret(PathBuf::new(), error))?;
    Ok(Secret(made.into()))
}

/// For keys on a server: the file that the operator has given to every machine, because one that this machine made would make its
/// keys invisible to the others.
pub(crate) fn of_server(named: Option<&Path>) -> Result<Option<Secret>, ServerError> {
    let Some(path) = named else {
        tracing::warn!(
            "keys are stored without a secret: {WHAT_IT_MEANS}; give every service that shares the store the same --secret-file",
        );
        return Ok(None);
    };
    match SecretFile::named(path).read() {
        Ok(Some(secret)) => Ok(Some(secret)),
        Ok(None) => Err("there is no such file, and it is not made here, because every service that shares the store needs the same".into()),
        Err(error) => Err(error),
    }
    .map_err(|error| ServerError::Secret(path.to_owned(), error))
}

/// For keys in this SQLite file, which this process alone has open: a file beside it, or the named one, which is made where
/// no key can be lost by that.
pub(crate) async fn of_sqlite(
    store: &SqliteStore,
    database: &Path,
    named: Option<&Path>,
) -> Result<Option<Secret>, ServerError> {
    let file = match named {
        Some(path) => SecretFile::named(path),
        // By the name that it has without links, as for the lock and the log.
        None => SecretFile::beside(&canonicalize(database)?, BESIDE),
    };
    let secret = secret_of(store, &file).await;
    secret.map_err(|error| ServerError::Secret(file.path().to_owned(), error))
}

async fn secret_of(store: &SqliteStore, file: &SecretFile) -> Result<Option<Secret>, Failure> {
    let find = |connection: &rusqlite::Connection| {
        connection.execute_batch(CREATE)?;
        let found = connection.query_row(FIND, [], |row| row.get(0));
        found.optional()
    };
    let verifier: Option<Vec<u8>> = store.database().write(find).await?;
    let shared = || Arc::new(store.clone()) as Arc<dyn Store>;
    if let Some(verifier) = verifier {
        let secret = file.read()?.ok_or(
            "there is no such file, and without it no key in the database is found, so that retries would run again; put it back",
        )?;
        if secret.verifier(shared())? != verifier {
            return Err("it is not the secret that the keys in the database are stored with; put that one back".into());
        }
        return Ok(Some(secret));
    }
    if !store.list(&ListRequest::new(1)).await?.is_empty() {
        tracing::warn!(
            "the keys in the database are stored without a secret, as the version before did, and so are new ones, because with one \
             those would be forgotten: {WHAT_IT_MEANS}; the first start that finds no live key makes a secret",
        );
        return Ok(None);
    }
    let secret = file.read_or_make()?;
    // Before the first key: from now on there is no start without this secret.
    let verifier = secret.verifier(shared())?;
    let insert = move |connection: &rusqlite::Connection| connection.execute(INSERT, [verifier]);
    store.database().write(insert).await?;
    Ok(Some(secret))
}
