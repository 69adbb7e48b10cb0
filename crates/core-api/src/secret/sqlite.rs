//! The secret of keys in a SQLite file, which only this process has open.

mod former;

use std::{
    fs::canonicalize,
    path::{Path, PathBuf},
};

use idempotency::{Idempotency, IdempotencyKey, Scope, SqliteStore, Store, store::ListRequest};
use rusqlite::{Connection, OptionalExtension};

use super::{
    Failure, OtherFile, OtherSecret, Secret, SecretError, SecretFiles, Secrets, WITHOUT_SECRET,
    file::SecretFile,
};
use former::Former;

/// The secret file has the name of the database with this suffix.
const SUFFIX: &str = ".secret";

/// One row, once keys are stored with a secret: a digest that only the secret of new keys results in.
const CREATE: &str = "create table if not exists core_api_secret (verifier blob not null) strict";
const IS_THERE: &str = "select exists (select * from sqlite_master where name = 'core_api_secret')";
const FIND: &str = "select verifier from core_api_secret";
const REMOVE: &str = "delete from core_api_secret";
const INSERT: &str = "insert into core_api_secret (verifier) values (?1)";

/// The secrets in the named files; the current one may be in a file next to the database. That file is created if this loses no
/// key, unless the caller only reads.
pub(crate) async fn of_database(
    store: &SqliteStore,
    database: &Path,
    files: &SecretFiles,
    may_make: bool,
) -> Result<Secrets, SecretError> {
    let own = match &files.own {
        Some(path) => SecretFile::named(path),
        None => next_to(database)?,
    };
    let other = files.other.as_ref().map(OtherFile::read).transpose()?;
    let is_named = files.own.is_some();
    let asked = Asked {
        store,
        own: &own,
        is_named,
        may_make,
    };
    let own_error = |source| SecretError::own(own.path(), source);
    let found = asked.find(other).await;
    let secrets = found.map_err(|error| match (error, &files.other) {
        (Mistake::Other(source), Some(other)) => other.error(source),
        (Mistake::Other(source) | Mistake::Own(source), _) => own_error(source),
    })?;
    if let Some(other) = &files.other {
        other.check(&secrets)?;
    }
    if let Some(mistake) = asked.forgotten(&secrets).await.map_err(own_error)? {
        return Err(match &files.other {
            Some(other) => other.error(mistake),
            None => own_error(mistake.into()),
        });
    }
    if may_make {
        let recorded = asked.record(secrets.own.as_ref()).await;
        recorded.map_err(own_error)?;
    }
    Ok(secrets)
}

/// By the database's path with symbolic links resolved, as for its lock and its log.
fn next_to(database: &Path) -> Result<SecretFile, SecretError> {
    let path = |database: &Path| {
        let mut path = database.as_os_str().to_owned();
        path.push(SUFFIX);
        PathBuf::from(path)
    };
    match canonicalize(database) {
        Ok(database) => Ok(SecretFile::generated(path(&database))),
        Err(error) => Err(SecretError::own(&path(database), error.into())),
    }
}

/// The requested secrets, and their places.
struct Asked<'a> {
    store: &'a SqliteStore,
    own: &'a SecretFile,
    is_named: bool,
    may_make: bool,
}

/// The file that is wrong, and why.
enum Mistake {
    Own(Failure),
    Other(Failure),
}

impl Asked<'_> {
    async fn find(&self, other: Option<OtherSecret>) -> Result<Secrets, Mistake> {
        if let Some(recorded) = self.recorded().await? {
            return self.known(&recorded, other);
        }
        let has_keys = self.has_keys().await?;
        let own = match &other {
            None => self.first(has_keys)?,
            Some(OtherSecret::Next(_)) if has_keys && self.is_named => {
                return Err(Mistake::own(
                    "the keys in the database are stored without a secret: leave --secret-file out of the first deployment of the first secret",
                ));
            }
            // Keys are stored without a secret until the second deployment.
            Some(OtherSecret::Next(_)) if has_keys => None,
            Some(OtherSecret::Next(_)) if self.is_named => Some(self.required()?),
            Some(OtherSecret::Next(_)) => self.own.read()?,
            Some(OtherSecret::Previous(Some(_))) if has_keys => {
                return Err(Mistake::Other(
                    "the keys in the database are stored without a secret: give --previous-secret-file none".into(),
                ));
            }
            Some(OtherSecret::Previous(_)) => Some(self.required()?),
        };
        Ok(Secrets { own, other })
    }

    /// Keys are stored with a secret, which must be one of the two.
    fn known(&self, recorded: &[u8], other: Option<OtherSecret>) -> Result<Secrets, Mistake> {
        let is_recorded =
            |secret: &Secret| Ok::<_, Failure>(verifier(secret, self.store)? == recorded);
        let other_is_recorded = match other.as_ref().and_then(OtherSecret::secret) {
            Some(secret) => is_recorded(secret)?,
            None => false,
        };
        let own = match self.own.read()? {
            // This is a step back from the second deployment of the first secret to its first one.
            None if !self.is_named
                && other_is_recorded
                && matches!(other, Some(OtherSecret::Next(_))) =>
            {
                None
            }
            None => {
                return Err(Mistake::own(
                    "there is no such file, and without it no key in the database is found, so that retries would run again; put it back",
                ));
            }
            Some(own) => Some(own),
        };
        let own_is_recorded = own.as_ref().map(is_recorded).transpose()?;
        if own_is_recorded == Some(false) && !other_is_recorded {
            return Err(Mistake::own(
                "it is not the secret that the keys in the database are stored with; put that one back, or name it by \
                 --previous-secret-file",
            ));
        }
        Ok(Secrets { own, other })
    }

    /// The secret is not being changed: creates the first one if the database has no keys.
    fn first(&self, has_keys: bool) -> Result<Option<Secret>, Failure> {
        // A command may lack an option of the service, and would create a different secret than the service's.
        if !self.may_make {
            return Ok(None);
        }
        if has_keys {
            tracing::warn!(
                "the keys in the database are stored without a secret, as the previous version did, and so are new ones, because with a \
                 secret the old ones would not be found: {WITHOUT_SECRET}; the first start that finds no live key makes a secret, and \
                 --next-secret-file introduces one before",
            );
            return Ok(None);
        }
        self.own.read_or_make().map(Some)
    }

    fn required(&self) -> Result<Secret, Failure> {
        let found = self.own.read()?;
        found.ok_or_else(|| {
            "there is no such file, and none is created while the secret is being changed".into()
        })
    }

    async fn has_keys(&self) -> Result<bool, Failure> {
        Ok(!self.store.list(&ListRequest::new(1)).await?.is_empty())
    }

    /// What is wrong if keys may live that are stored with a secret which is neither of these.
    async fn forgotten(&self, secrets: &Secrets) -> Result<Option<String>, Failure> {
        let former = Former::read(self.store.database()).await?;
        if former.is_empty() || !self.has_keys().await? {
            return Ok(None);
        }
        let mut known = vec![verifier_of(secrets.own.as_ref(), self.store)?];
        if let Some(other) = &secrets.other {
            known.push(verifier_of(other.secret(), self.store)?);
        }
        Ok(former.other_than(&known))
    }

    async fn recorded(&self) -> Result<Option<Vec<u8>>, Failure> {
        let find = |connection: &Connection| {
            if !connection.query_row(IS_THERE, [], |row| row.get(0))? {
                return Ok(None);
            }
            connection.query_row(FIND, [], |row| row.get(0)).optional()
        };
        Ok(self.store.database().write(find).await?)
    }

    /// Comes before the first key with this secret: from now on the service does not start without it.
    async fn record(&self, own: Option<&Secret>) -> Result<(), Failure> {
        let made = own.map(|own| verifier(own, self.store)).transpose()?;
        let (recorded, has_keys) = (self.recorded().await?, self.has_keys().await?);
        if recorded == made && has_keys {
            return Ok(());
        }
        let record = move |connection: &Connection| {
            connection.execute_batch(CREATE)?;
            connection.execute(REMOVE, [])?;
            if has_keys {
                let former = recorded.as_deref().unwrap_or(NO_SECRET);
                former::replace(connection, former, made.as_deref().unwrap_or(NO_SECRET))?;
            } else {
                former::forget(connection)?;
            }
            match made {
                Some(made) => connection.execute(INSERT, [made]),
                None => Ok(0),
            }
        };
        self.store.database().write(record).await?;
        Ok(())
    }
}

impl Mistake {
    fn own(why: &'static str) -> Self {
        Self::Own(why.into())
    }
}

impl<E: Into<Failure>> From<E> for Mistake {
    fn from(error: E) -> Self {
        Self::Own(error.into())
    }
}

/// In place of a verifier where keys are stored without a secret.
const NO_SECRET: &[u8] = b"";

fn verifier_of(secret: Option<&Secret>, store: &SqliteStore) -> Result<Vec<u8>, Failure> {
    secret.map_or_else(|| Ok(NO_SECRET.to_vec()), |secret| verifier(secret, store))
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
