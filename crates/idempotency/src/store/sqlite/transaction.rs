//! The application's writes and a key's record in one piece of work for the thread that writes.

use std::{any::Any, fmt, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use rusqlite::{Connection, Error};

use super::{
    SqliteDatabase, SqliteStore, SqliteStoreError, guard, index::File, records, room::Changes,
    threads::Turn, timeline::Now,
};
use crate::store::{
    IfOwner, Store,
    transaction::{
        CommitFailure, Committed, EncodeResponse, NewOutcome, PendingRecord, Transaction,
        innermost, sealed::Sealed,
    },
};

/// Writes that are committed together with a key's record, from [`SqliteDatabase::transaction`].
pub struct SqliteTransaction<W> {
    database: SqliteDatabase,
    work: W,
}

/// Waiting for another program's lock takes less, so only a disk that hangs takes this long.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);

impl SqliteDatabase {
    /// Writes for [`Execution::commit`](crate::Execution::commit), which runs them once, on the thread that writes.
    ///
    /// ```
    /// use axum::{extract::State, http::StatusCode, response::Response};
    /// use idempotency::{CommitError, Execution, SqliteDatabase, idempotent};
    ///
    /// #[idempotent(ttl_seconds = 3600, transactional)]
    /// async fn book(
    ///     State(database): State<SqliteDatabase>,
    ///     execution: Execution,
    ///     guest: String,
    /// ) -> Result<Response, CommitError> {
    ///     let insert = database.transaction(move |connection| {
    ///         connection.execute("insert into bookings (guest) values (?1)", [guest])
    ///     });
    ///     execution.commit(insert, StatusCode::CREATED).await
    /// }
    /// ```
    ///
    /// The rules of [`write`](Self::write) apply to this work too. It shares one sync of the disk with other callers'
    /// work; its own statements and its key's record are committed together or not at all.
    pub fn transaction<T, W>(&self, work: W) -> SqliteTransaction<W>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    {
        SqliteTransaction {
            database: self.clone(),
            work,
        }
    }
}

impl<W> Sealed for SqliteTransaction<W> {}

impl<T, W> Transaction for SqliteTransaction<W>
where
    T: Send + 'static,
    W: FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
{
    type Value = T;

    fn shares(&self, store: &dyn Store) -> bool {
        let store: &dyn Any = innermost(store);
        store
            .downcast_ref::<SqliteStore>()
            .is_some_and(|store| store.database.is(&self.database))
    }

    fn commit<'a>(
        self,
        entry: Option<PendingRecord>,
        ending: EncodeResponse<T>,
    ) -> BoxFuture<'a, Result<IfOwner<Committed>, CommitFailure>>
    where
        Self: 'a,
    {
        let Self { database, work } = self;
        Box::pin(async move {
            let commit = async {
                match entry {
                    Some(entry) => commit(work, entry, ending).await,
                    None => commit_alone(&database, work, ending).await,
                }
            };
            match tokio::time::timeout(COMMIT_TIMEOUT, commit).await {
                Ok(committed) => committed,
                // It may still be done.
                Err(_) => Err(CommitFailure::Unknown(
                    "SQLite has not committed the work within 10 seconds".into(),
                )),
            }
        })
    }
}

async fn commit_alone<T: 'static>(
    database: &SqliteDatabase,
    work: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ending: EncodeResponse<T>,
) -> Result<IfOwner<Committed>, CommitFailure> {
    let done = database.write(move |connection| end(ending, work(connection)?));
    Ok(IfOwner::Done(Committed {
        outcome: done.await.map_err(failure)?,
        expires_at: None,
    }))
}

async fn commit<T: 'static>(
    work: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    entry: PendingRecord,
    ending: EncodeResponse<T>,
) -> Result<IfOwner<Committed>, CommitFailure> {
    let store: &dyn Any = innermost(entry.store.as_ref());
    let Some(store) = store.downcast_ref::<SqliteStore>() else {
        return Err(CommitFailure::Undone(
            "the store is not a SQLite store".into(),
        ));
    };
    let (store, hold) = (store.clone(), entry.hold.clone());
    let commit = move |file: File<'_>, now: &Now, changes: &mut Changes| {
        // Asked first. Nothing can come in between, because only one thread writes.
        let may_commit = records::may_commit(file, &entry.hold, entry.is_held, now)?;
        let IfOwner::Done(before) = may_commit else {
            return Ok(IfOwner::NotOwner);
        };
        let value = work(file.connection)?;
        // The effects of the work are gone, and its record would be written alone.
        if file.connection.is_autocommit() {
            return Err(guard::ended());
        }
        let outcome = end(ending, value)?;
        let expires_at = records::commit_outcome(
            file,
            &outcome.hold(&entry.hold),
            &entry.fingerprint,
            &outcome.bytes,
            entry.is_held,
            &before,
            now,
            changes,
        )?;
        Ok(IfOwner::Done(Committed {
            outcome,
            expires_at: Some(expires_at),
        }))
    };
    let wake = store.wake(hold.id);
    let committed = store.step(commit, wake, Turn::New).await;
    committed.map_err(failure)
}

/// The thread that writes cannot wait, because all other writers would wait with it.
fn end<T>(ending: EncodeResponse<T>, value: T) -> Result<NewOutcome, Error> {
    ending(value)
        .now_or_never()
        .unwrap_or_else(|| Err("the body of the response is not complete".into()))
        .map_err(Error::ToSqlConversionFailure)
}

fn failure(error: SqliteStoreError) -> CommitFailure {
    match error {
        SqliteStoreError::Commit(_) | SqliteStoreError::Stopped => {
            CommitFailure::Unknown(error.into())
        }
        _ => CommitFailure::Undone(error.into()),
    }
}

impl<W> fmt::Debug for SqliteTransaction<W> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SqliteTransaction")
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}
