mod database;
mod ends;
mod error;
mod file;
mod guard;
mod index;
mod job;
mod leaps;
mod list;
mod live;
mod loading;
mod log;
mod millis;
mod new_row;
mod older;
mod operators;
mod own;
mod places;
mod records;
mod room;
#[cfg(test)]
mod rounds;
mod row;
mod saved;
mod schema;
mod statements;
mod threads;
mod timeline;
mod transaction;
mod upgrade;
mod verify;
mod warn;
mod writes;

use std::{
    fmt,
    path::Path,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;

pub use database::SqliteDatabase;
pub use error::SqliteStoreError;
pub use transaction::SqliteTransaction;

use super::{
    Claim, ClaimRequest, Hold, IfOwner, ListRequest, Listed, Polling, Record, RecordId, Resolution,
    ScopeId, Store, StoreError, Subscription, Token, Verification, Wakeups, check_length,
};
use crate::{Clock, Fingerprint};
use index::{File, Seen};
use list::Recent;
use places::Places;
use records::Found;
use room::{Changes, Room};
use threads::Turn;
use timeline::{Now, Timeline};

/// What errors and logs call this store.
const NAME: &str = "sqlite";

/// A store in a SQLite file: nothing to install, and its records survive crashes and power failures.
///
/// ```no_run
/// use idempotency::{Idempotency, SqliteStore};
///
/// # fn main() -> Result<(), idempotency::store::SqliteStoreError> {
/// let idempotency = Idempotency::new(SqliteStore::open("keys.db")?);
/// # Ok(())
/// # }
/// ```
///
/// Clones are handles on one store. Only one process has the file open at a time. If several processes serve the same
/// clients, use another store.
///
/// Keys that arrive together are made durable together, so the disk limits the latency of a response, and hardly the
/// number of responses. Replays are read by other threads and do not wait for writes. For a new key nothing is read:
/// up to 64 megabytes of memory tell which keys are in the file, or may be. While these are read from the file again, they
/// take twice as much.
///
/// # Limit
///
/// Records take a bounded number of bytes, by default ten gigabytes. When they are used up the store refuses new keys,
/// which clients see as 503. It never forgets a key before its time.
///
/// A [`Scope`](crate::Scope) may use at most eight times what is free: one scope alone gets eight ninths of the limit,
/// and each of two that flood the store gets eight seventeenths. Above that its new keys are refused, which clients see
/// as 429, while those of other scopes are accepted. A caller that invents credentials invents scopes, and only the
/// limit stops it.
///
/// Room becomes free when expired records are swept. The records that are in the file at the start are counted in the
/// background, and nothing is refused until the count is complete. Records of earlier versions count for the limit and
/// for no scope.
///
/// # Time
///
/// Outcomes are dated by the machine's wall clock, and no jump of that clock ends one early: not while the service
/// runs, while it is stopped, or while the machine sleeps. The file holds the time of its last write, to the second,
/// and its own time goes on from there. If the clock is ahead of it, records are judged by the file's time until those
/// from before the jump have expired by it, or until the clock comes back; then the file follows the clock again. So
/// after a pause keys live longer by its length, until the keys from before it are gone. While the clock is behind the
/// file's time, keys live longer by the difference; if it stays behind for a day, the file's time goes back to it. A
/// difference of more than an hour is logged as a warning with both times, because the clock may be wrong.
///
/// Leases are measured by the time that passes while the service runs. After a restart a lease lasts at most its own
/// length, plus the second to which the file knows the time.
#[derive(Clone)]
pub struct SqliteStore {
    database: SqliteDatabase,
    places: Places,
    room: Room,
    limit: usize,
    timeline: Timeline,
    wakeups: Wakeups,
}

/// How often a waiter polls that was not woken: an owner that died wakes no waiter.
const POLLING: Polling = Polling::every(Duration::from_secs(1));

/// How many bytes the records may take by default.
const LIMIT: usize = 10_000_000_000;

/// How many records are removed in one piece of work. Claims that arrive meanwhile wait for it.
const PURGED_AT_ONCE: usize = 128;

/// Half of the size that SQLite allows for a row.
const MAX_OUTCOME: usize = 500_000_000;

impl SqliteStore {
    /// A store in a file of its own, which is created if it does not exist.
    ///
    /// # Errors
    ///
    /// As for [`SqliteDatabase::open`] and [`new`](Self::new).
    pub fn open(path: impl AsRef<Path>) -> Result<Self, SqliteStoreError> {
        Self::new(SqliteDatabase::open(path)?)
    }

    /// A store in a file that the application uses too; the store's tables are named `idempotency_…`. Waits for the
    /// disk.
    ///
    /// # Errors
    ///
    /// If a newer version of this library made the tables in the file, an earlier one made them after the file was
    /// opened, or the tables cannot be made.
    pub fn new(database: SqliteDatabase) -> Result<Self, SqliteStoreError> {
        schema::set_up(&database)?;
        let (places, room, timeline) = database.in_file()?;
        Ok(Self {
            database,
            places,
            room,
            limit: LIMIT,
            timeline,
            wakeups: Wakeups::default(),
        })
    }

    /// Refuses new keys while the records, at 400 bytes and their response or progress each, take more than this. Labels do not count.
    #[must_use]
    pub fn with_limit_bytes(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Uses this clock, starting at the time that the file had when the store was opened.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.timeline = self.timeline.with_clock(clock);
        self
    }

    /// The file, for the application's own tables.
    #[must_use]
    pub fn database(&self) -> &SqliteDatabase {
        &self.database
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check_room(&self, scope: &ScopeId) -> Result<(), StoreError> {
        self.room.admit(scope, self.limit)
    }

    async fn claim(&self, request: ClaimRequest<'_>) -> Result<Claim, StoreError> {
        let ClaimRequest {
            hold,
            fingerprint,
            on_lost,
        } = request;
        let (hold, fingerprint) = (hold.clone(), *fingerprint);
        let id = hold.id;
        match self.places.durable(&id) {
            // Only the thread that writes knows.
            None => {}
            // A flood takes no turn of the writer.
            Some(none) if none.are_none() => self.room.admit(&hold.scope, self.limit)?,
            // Most duplicates get their response here, without a turn of the writer.
            Some(candidates) => {
                let found = self.see(id, candidates).await?;
                let now = self.timeline.now();
                let found = match found {
                    Seen::Found(found) => Some(*found),
                    Seen::Nothing | Seen::Unclear => None,
                };
                match records::decide(found, &hold, &fingerprint, on_lost, &now) {
                    Found::Settled(claim) => return Ok(claim),
                    Found::Spent => return Err(StoreError::withdrawn()),
                    Found::Free { .. } => {}
                }
            }
        }
        let (room, limit) = (self.room.clone(), self.limit);
        let claim = move |file: File<'_>, now: &Now, changes: &mut Changes| {
            let admit = || room.admit(&hold.scope, limit);
            records::claim(file, &hold, &fingerprint, on_lost, admit, now, changes)
        };
        self.step(claim, |_| (), Turn::New).await?
    }

    async fn withdraw(&self, hold: &Hold, fingerprint: &Fingerprint) -> Result<(), StoreError> {
        let (hold, fingerprint) = (hold.clone(), *fingerprint);
        let (wakeups, id) = (self.wakeups.clone(), hold.id);
        let withdraw = move |file: File<'_>, now: &Now, changes: &mut Changes| {
            ends::withdraw(file, &hold, &fingerprint, now, changes)
        };
        let wake = move |has_ended: &bool| {
            if *has_ended {
                wakeups.wake(&id);
            }
        };
        self.step(withdraw, wake, Turn::Due).await?;
        Ok(())
    }

    async fn renew(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        let hold = hold.clone();
        let renew =
            move |file: File<'_>, now: &Now, _: &mut Changes| records::renew(file, &hold, now);
        Ok(self.step(renew, |_| (), Turn::Due).await?)
    }

    async fn checkpoint(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        check_length(&progress, MAX_OUTCOME)?;
        let hold = hold.clone();
        let checkpoint = move |file: File<'_>, now: &Now, changes: &mut Changes| {
            records::checkpoint(file, &hold, &progress, now, changes)
        };
        Ok(self.step(checkpoint, |_| (), Turn::Due).await?)
    }

    async fn suspend(&self, hold: &Hold, progress: Bytes) -> Result<IfOwner<()>, StoreError> {
        check_length(&progress, MAX_OUTCOME)?;
        let hold = hold.clone();
        let wake = self.wake(hold.id);
        let suspend = move |file: File<'_>, now: &Now, changes: &mut Changes| {
            ends::suspend(file, &hold, &progress, now, changes)
        };
        Ok(self.step(suspend, wake, Turn::Due).await?)
    }

    async fn complete(
        &self,
        hold: &Hold,
        outcome: Bytes,
    ) -> Result<IfOwner<SystemTime>, StoreError> {
        check_length(&outcome, MAX_OUTCOME)?;
        let hold = hold.clone();
        let wake = self.wake(hold.id);
        let complete = move |file: File<'_>, now: &Now, changes: &mut Changes| {
            records::complete(file, &hold, &outcome, now, changes)
        };
        Ok(self.step(complete, wake, Turn::Due).await?)
    }

    async fn release(&self, hold: &Hold) -> Result<IfOwner<()>, StoreError> {
        let hold = hold.clone();
        let wake = self.wake(hold.id);
        let release = move |file: File<'_>, now: &Now, changes: &mut Changes| {
            ends::release(file, &hold, now, changes)
        };
        Ok(self.step(release, wake, Turn::Due).await?)
    }

    async fn inspect(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        let id = *id;
        let seen = match self.places.durable(&id) {
            None => Seen::Unclear,
            Some(none) if none.are_none() => Seen::Nothing,
            Some(candidates) => self.see(id, candidates).await?,
        };
        let found = match seen {
            Seen::Found(found) => Some(*found),
            Seen::Nothing => None,
            Seen::Unclear => {
                let find = move |file: File<'_>, _: &Now, _: &mut Changes| file.find(&id);
                self.step(find, |_| (), Turn::New).await?
            }
        };
        let now = self.timeline.now();
        let found = found.filter(|found| !found.is_expired(&now) && !found.is_free());
        Ok(found.map(|found| found.into_record(&now)))
    }

    async fn list(&self, request: &ListRequest) -> Result<Vec<Listed>, StoreError> {
        let (now, mut rest) = (self.timeline.now(), request.clone());
        let mut listed = Vec::new();
        let mut next = Some(Recent::begin(request));
        while let Some(from) = next.filter(|_| rest.limit > 0) {
            let recent = self.recent_from(from).await?;
            let asked = rest.clone();
            let page = self
                .database
                .look_up(move |connection| list::list(connection, &asked, recent, &now))
                .await?;
            rest.limit -= page.listed.len();
            listed.extend(page.listed);
            next = page.goes_on;
        }
        Ok(listed)
    }

    async fn resolve(
        &self,
        id: &RecordId,
        seen: &Token,
        resolution: Resolution,
    ) -> Result<IfOwner<()>, StoreError> {
        if let Resolution::Complete { outcome, .. }
        | Resolution::Replace { outcome }
        | Resolution::Erase { outcome } = &resolution
        {
            check_length(outcome, MAX_OUTCOME)?;
        }
        let (id, seen) = (*id, *seen);
        let resolve = move |file: File<'_>, now: &Now, changes: &mut Changes| {
            operators::resolve(file, &id, &seen, &resolution, now, changes)
        };
        Ok(self.step(resolve, self.wake(id), Turn::Due).await?)
    }

    async fn purge_expired(&self, limit: usize) -> Result<usize, StoreError> {
        let mut purged = 0;
        while purged < limit {
            let next = PURGED_AT_ONCE.min(limit - purged);
            let purge = move |file: File<'_>, now: &Now, changes: &mut Changes| {
                records::purge_expired(file, next, now, changes)
            };
            let removed = self.step(purge, |_| (), Turn::Due).await?;
            purged += removed;
            if removed < next {
                break;
            }
        }
        Ok(purged)
    }

    async fn live_records(&self) -> Result<Option<u64>, StoreError> {
        self.counted().await.map(Some)
    }

    async fn verify(&self) -> Verification {
        let mut verification = Verification::new();
        verify::check(&self.database, &mut verification).await;
        verification.add_steps(self).await;
        verification
    }

    fn subscribe(&self, id: &RecordId) -> Subscription {
        self.wakeups.subscribe(id, POLLING)
    }

    fn outcome_limit(&self) -> usize {
        MAX_OUTCOME
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
