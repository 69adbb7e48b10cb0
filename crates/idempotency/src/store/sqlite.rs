mod database;
mod error;
mod file;
mod guard;
mod job;
mod known;
mod millis;
mod records;
mod schema;
mod threads;
mod transaction;

use std::{
    fmt,
    path::Path,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;

pub use database::SqliteDatabase;
pub use error::SqliteError;
pub use transaction::SqliteTransaction;

use super::{
    Claim, Fenced, Hold, Polling, Resolution, Store, StoreError, Subscription, Wakeups,
    check_length,
};
use crate::{Clock, Fingerprint, OnLost, Record, RecordId, Token};
use known::Known;
use records::Found;

/// A store in a SQLite file: nothing to install, and what it has promised outlives the process and the power.
///
/// ```no_run
/// use idempotency::{Idempotency, SqliteStore};
///
/// # fn main() -> Result<(), idempotency::SqliteError> {
/// let idempotency = Idempotency::new(SqliteStore::open("keys.db")?);
/// # Ok(())
/// # }
/// ```
///
/// Clones are handles on one store. One process has the file at a time; where several serve the same clients,
/// take another store.
///
/// Keys that arrive together are made durable together, so the disk limits how long one answer takes, and
/// hardly how many there are. A replay is read beside all that and waits for no write; for a new key nothing is read,
/// because two megabytes of memory tell which keys there may be.
#[derive(Clone)]
pub struct SqliteStore {
    database: SqliteDatabase,
    known: Known,
    clock: Clock,
    wakeups: Wakeups,
}

/// How often those look who have not been woken: an owner that is gone wakes nobody.
const POLLING: Polling = Polling::every(Duration::from_secs(1));

/// How many records are removed in one piece of work, for which claims that came in meanwhile wait.
const PURGED_AT_ONCE: usize = 128;

/// Half of what SQLite allows a row to take.
const MOST_OUTCOME: usize = 500_000_000;

impl SqliteStore {
    /// A store in a file of its own, which is made if there is none.
    ///
    /// # Errors
    ///
    /// As [`SqliteDatabase::open`], and as [`new`](Self::new).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, SqliteError> {
        Self::new(SqliteDatabase::open(path)?)
    }

    /// A store in a file that the application uses too; its tables are named `idempotency_…`. Waits for the disk.
    ///
    /// # Errors
    ///
    /// If a newer version of this library made the tables that the file has, or they cannot be made.
    pub fn new(database: SqliteDatabase) -> Result<Self, SqliteError> {
        schema::set_up(&database)?;
        let known = database.known()?;
        Ok(Self {
            database,
            known,
            clock: Clock::system(),
            wakeups: Wakeups::default(),
        })
    }

    /// Takes the time from this clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The file, for the application's own tables.
    #[must_use]
    pub fn database(&self) -> &SqliteDatabase {
        &self.database
    }

    /// Wakes those who wait for this record, once the hold's end is durable.
    fn wake<T>(&self, id: RecordId) -> impl FnOnce(&Fenced<T>) + Send + 'static {
        let wakeups = self.wakeups.clone();
        move |fenced| {
            if matches!(fenced, Fenced::Done(_)) {
                wakeups.wake(&id);
            }
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn claim(
        &self,
        hold: &Hold,
        fingerprint: &Fingerprint,
        on_lost: OnLost,
    ) -> Result<Claim, StoreError> {
        let (hold, fingerprint) = (hold.clone(), *fingerprint);
        let id = hold.id;
        // Most duplicates are answered here, without a turn of the writer.
        if self.known.may_have(&id) {
            let found = self
                .database
                .read(move |connection| records::find(connection, &id))
                .await?;
            let judged = records::judge(found, &hold, &fingerprint, on_lost, self.clock.now());
            if let Found::Settled(claim) = judged {
                return Ok(claim);
            }
        }
        self.known.add(&id);
        let clock = self.clock.clone();
        let claimed = self.database.write(move |connection| {
            records::claim(connection, &hold, &fingerprint, on_lost, clock.now())
        });
        Ok(claimed.await?)
    }

    async fn withdraw(
        &self,
        hold: &Hold,
        fingerprint: &Fingerprint,
        on_lost: OnLost,
    ) -> Result<(), StoreError> {
        let _ = (hold, fingerprint, on_lost);
        Err(StoreError::unavailable("not here yet"))
    }

    async fn renew(&self, hold: &Hold) -> Result<Fenced<()>, StoreError> {
        let (clock, hold) = (self.clock.clone(), hold.clone());
        let renewed = self
            .database
            .write(move |connection| records::renew(connection, &hold, clock.now()));
        Ok(renewed.await?)
    }

    async fn checkpoint(&self, hold: &Hold, progress: Bytes) -> Result<Fenced<()>, StoreError> {
        check_length(&progress, MOST_OUTCOME)?;
        let (clock, hold) = (self.clock.clone(), hold.clone());
        let kept = self.database.write(move |connection| {
            records::checkpoint(connection, &hold, &progress, clock.now())
        });
        Ok(kept.await?)
    }

    async fn complete(
        &self,
        hold: &Hold,
        outcome: Bytes,
    ) -> Result<Fenced<SystemTime>, StoreError> {
        check_length(&outcome, MOST_OUTCOME)?;
        let (clock, hold) = (self.clock.clone(), hold.clone());
        let wake = self.wake(hold.id);
        let completed = self.database.write_and_then(
            move |connection| records::complete(connection, &hold, &outcome, clock.now()),
            wake,
        );
        Ok(completed.await?)
    }

    async fn release(&self, hold: &Hold) -> Result<Fenced<()>, StoreError> {
        let (clock, hold) = (self.clock.clone(), hold.clone());
        let wake = self.wake(hold.id);
        let released = self.database.write_and_then(
            move |connection| records::release(connection, &hold, clock.now()),
            wake,
        );
        Ok(released.await?)
    }

    async fn inspect(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        let id = *id;
        if !self.known.may_have(&id) {
            return Ok(None);
        }
        let found = self
            .database
            .read(move |connection| records::find(connection, &id));
        let now = self.clock.now();
        Ok(found.await?.filter(|record| record.expires_at > now))
    }

    async fn list(
        &self,
        after: Option<&RecordId>,
        limit: usize,
    ) -> Result<Vec<Record>, StoreError> {
        let (now, after) = (self.clock.now(), after.copied());
        let listed = self
            .database
            .read(move |connection| records::list(connection, after.as_ref(), limit, now));
        Ok(listed.await?)
    }

    async fn resolve(
        &self,
        id: &RecordId,
        seen: &Token,
        resolution: Resolution,
    ) -> Result<Fenced<()>, StoreError> {
        let (clock, id, seen) = (self.clock.clone(), *id, *seen);
        let resolved = self.database.write_and_then(
            move |connection| records::resolve(connection, &id, &seen, &resolution, clock.now()),
            self.wake(id),
        );
        Ok(resolved.await?)
    }

    async fn purge_expired(&self, limit: usize) -> Result<usize, StoreError> {
        let now = self.clock.now();
        let mut purged = 0;
        while purged < limit {
            let next = PURGED_AT_ONCE.min(limit - purged);
            let removed = self
                .database
                .write(move |connection| records::purge_expired(connection, next, now))
                .await?;
            purged += removed;
            if removed < next {
                break;
            }
        }
        Ok(purged)
    }

    fn subscribe(&self, id: &RecordId) -> Subscription {
        self.wakeups.subscribe(id, POLLING)
    }

    fn outcome_limit(&self) -> usize {
        MOST_OUTCOME
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SqliteStore")
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}
