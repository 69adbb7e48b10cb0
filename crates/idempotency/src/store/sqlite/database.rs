use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock, mpsc},
};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{
    SqliteStoreError,
    file::LockedFile,
    job::{Call, Job, Waiting},
    record_filter::RecordFilter,
    room::Room,
    threads::{Turn, Workers},
    timeline::Timeline,
};

/// One SQLite file, for keys and for the application's own tables alike. Connections are those of rusqlite 0.39.
///
/// ```
/// use idempotency::{SqliteDatabase, SqliteStoreError};
///
/// # async fn example() -> Result<(), SqliteStoreError> {
/// let database = SqliteDatabase::open("bookings.db")?;
/// let id = database
///     .write(|connection| {
///         connection
///             .prepare_cached("insert into bookings (customer) values (?1)")?
///             .insert(["Ann"])
///     })
///     .await?;
/// # Ok(())
/// # }
/// ```
///
/// Clones are handles on one file. All that is written goes through one thread, which puts whatever has come
/// in while the last transaction was being made durable into the next one: many callers share the price of a
/// commit, and nobody is ever told that the database is busy. Two more threads read beside it.
///
/// A commit is durable when its callers hear of it (`synchronous = full`, write-ahead log). The file can be
/// read by this user only, and is open once at a time: a lock on `<path>.lock` sees to that. Other programs, such as an
/// operator's `sqlite3`, should only read it meanwhile; SQLite before 3.51.3 can corrupt a file that two of them write. When the last
/// handle is dropped, what is queued is done and the file closed first, for which the drop waits.
#[derive(Clone)]
pub struct SqliteDatabase(Arc<Shared>);

struct Shared {
    path: PathBuf,
    /// Once a store is in the file. All stores in it share these.
    in_file: OnceLock<InFile>,
    // Dropped first: the connection that writes must be the last to close, which empties the log.
    readers: Workers,
    look_ups: Workers,
    writer: Workers,
}

/// What a store knows of its file.
pub(super) type InFile = (RecordFilter, Room, Timeline);

/// Reads take microseconds; the second thread is for those that do not. There are so many for the application, and again
/// for the store's own look-ups.
const READERS: usize = 2;

impl SqliteDatabase {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    ///
    /// If the path names no file, its folder does not exist, the file is no SQLite database or cannot be
    /// written to, or is open already.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, SqliteStoreError> {
        let path = path.as_ref();
        let file = Arc::new(LockedFile::acquire(path)?);
        let writer = file.writer()?;
        let failed = |error| SqliteStoreError::open(path, error);
        let readers = || {
            let connections = (0..READERS).map(|_| file.reader());
            let connections = connections.collect::<Result<Vec<_>, _>>()?;
            Workers::reading(connections, &file).map_err(failed)
        };
        Ok(Self(Arc::new(Shared {
            path: path.to_owned(),
            in_file: OnceLock::new(),
            readers: readers()?,
            look_ups: readers()?,
            writer: Workers::writing(writer, &file).map_err(failed)?,
        })))
    }

    /// Runs this on the thread that writes, and returns once it is durable.
    ///
    /// It shares its transaction with other callers' work, of which it sees what ran before it. If it fails or
    /// panics, its own statements are undone and nobody else's. It is not for long work, because everybody who
    /// writes waits for it; and it must not begin or end transactions itself, nor break a deferred foreign key,
    /// which SQLite checks for all of them together: they are all undone then, and the next ones are committed one by one. If
    /// a statement of it ends the transaction all the same, such as an
    /// `insert or rollback`, a trigger's `raise(rollback)` or one that finds the disk full, all of them are undone, also
    /// where the closure does not pass the error on. SQLite's hooks for commit and rollback and its authorizer are this
    /// library's: it refuses `attach`, and pragmas that would change how this thread works for others, such as `query_only`.
    /// A time limit for locks or a progress handler that the closure sets is gone after it.
    ///
    /// Once this future has been polled the work is done even if the future is dropped.
    ///
    /// # Errors
    ///
    /// [`SqliteStoreError::Work`] with the closure's own error, [`SqliteStoreError::Panicked`], and [`SqliteStoreError::RolledBack`] if
    /// work beside it ended the transaction: nothing of it was kept. [`SqliteStoreError::Overloaded`] if thousands of writes wait
    /// already: nothing was done.
    /// [`SqliteStoreError::Commit`] and [`SqliteStoreError::Stopped`]: it is not known to be kept.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, SqliteStoreError> {
        self.write_and_then(work, |_| (), Turn::New).await
    }

    /// Runs this on a thread that only reads, in no transaction, beside whatever is being written.
    ///
    /// It sees all that was committed before it. Several statements see one state of the database between `begin`
    /// and `commit`.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write); an attempt to write is one. [`SqliteStoreError::Overloaded`] if thousands of reads wait already.
    /// A read whose future is dropped before its turn is not done.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, SqliteStoreError> {
        read_on(&self.0.readers, work).await
    }

    /// [`read`](Self::read) for the store, on threads that no work of the application can keep busy.
    pub(super) async fn look_up<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, SqliteStoreError> {
        read_on(&self.0.look_ups, work).await
    }

    /// Which records the file may have, what they take, which is counted in the background, and what time it is there, once its
    /// tables are made.
    pub(super) fn in_file(&self) -> Result<InFile, SqliteStoreError> {
        if let Some(in_file) = self.0.in_file.get() {
            return Ok(in_file.clone());
        }
        // On the thread that writes, which cannot write a record before this is in place.
        let database = self.clone();
        self.write_blocking(move |connection| {
            if let Some(in_file) = database.0.in_file.get() {
                return Ok(in_file.clone());
            }
            let (known, has_records) = RecordFilter::load(connection)?;
            let room = if has_records {
                database.count_records()
            } else {
                Room::empty()
            };
            let timeline = Timeline::load(connection)?;
            let in_file = (known, room, timeline);
            Ok(database.0.in_file.get_or_init(|| in_file).clone())
        })
    }

    /// On the thread that writes: what it has committed is counted, and what it writes from here on is not.
    fn count_records(&self) -> Room {
        let room = Room::default();
        let (begun, has_begun) = mpsc::sync_channel(1);
        let count = Call::new(room.counting(begun), |_| ());
        // Without a count nothing is refused. What can fail here fails whatever comes next as well.
        if self.0.look_ups.send(Box::new(count), Turn::New).is_ok() {
            let _: Result<(), _> = has_begun.recv();
        }
        room
    }

    /// Whether both are handles on one file.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// [`write`](Self::write), and this once it is durable, whether or not anybody waits for it still.
    pub(super) async fn write_and_then<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
        then: impl FnOnce(&T) + Send + 'static,
        turn: Turn,
    ) -> Result<T, SqliteStoreError> {
        let (answer, answered) = oneshot::channel();
        let job = Call::new(work, |result: Result<T, SqliteStoreError>| {
            if let Ok(value) = &result {
                then(value);
            }
            drop(answer.send(result));
        });
        self.0.writer.send(Box::new(job), turn)?;
        answered.await.unwrap_or(Err(SqliteStoreError::Stopped))
    }

    /// [`write`](Self::write) for the start of a program, on a thread that may block.
    pub(super) fn write_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, SqliteStoreError> {
        let (answer, answered) = mpsc::sync_channel(1);
        let job: Box<dyn Job> = Box::new(Call::new(work, move |result| drop(answer.send(result))));
        self.0.writer.send(job, Turn::New)?;
        answered.recv().unwrap_or(Err(SqliteStoreError::Stopped))
    }
}

/// Work whose caller has left by its turn is not done.
async fn read_on<T: Send + 'static>(
    threads: &Workers,
    work: impl FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
) -> Result<T, SqliteStoreError> {
    let (answer, answered) = oneshot::channel();
    threads.send(Box::new(Call::new(work, Waiting(answer))), Turn::New)?;
    answered.await.unwrap_or(Err(SqliteStoreError::Stopped))
}

impl fmt::Debug for SqliteDatabase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SqliteDatabase")
            .field("path", &self.0.path)
            .finish_non_exhaustive()
    }
}
