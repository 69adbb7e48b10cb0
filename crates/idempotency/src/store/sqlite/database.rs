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
    index,
    job::{Call, Job, Waiting},
    places::Places,
    room::Room,
    threads::{Turn, Workers},
    timeline::Timeline,
};

/// One SQLite file, for keys and for the application's own tables. Connections are those of rusqlite 0.39.
///
/// ```
/// use idempotency::{SqliteDatabase, store::SqliteStoreError};
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
/// Clones are handles on one file. One thread makes all writes. It puts the work that arrives while one transaction is
/// being made durable into the next: many callers share the cost of a commit, and no caller is told that the database
/// is busy. More threads read at the same time.
///
/// A commit is durable when its callers learn of it (`synchronous = full`, write-ahead log). Only this user can read
/// the file, and it is open only once at a time, which a lock on `<path>.lock` ensures. Other programs, such as an
/// operator's `sqlite3`, should only read it meanwhile; SQLite before 3.51.3 can corrupt a file that two of them write.
/// Dropping the last handle waits until the queued work is done and the file is closed.
#[derive(Clone)]
pub struct SqliteDatabase(Arc<Shared>);

struct Shared {
    path: PathBuf,
    /// Where the records are, once there is a store.
    places: Places,
    /// What the stores in the file share, once there is one.
    in_file: OnceLock<InFile>,
    // Dropped first: the connection that writes must close last, which empties the log.
    readers: Workers,
    look_ups: Workers,
    writer: Workers,
}

/// What a store knows about its file.
pub(super) type InFile = (Places, Room, Timeline);

/// Reads take microseconds; the second thread is for longer ones. The application has this many, and the
/// store's own reads have as many again.
const READERS: usize = 2;

impl SqliteDatabase {
    /// Opens the file, or creates it. Tables of an earlier version of this library are turned into those of this one,
    /// which may take minutes if there are millions of keys.
    ///
    /// # Errors
    ///
    /// If the path does not name a file, its folder does not exist, the file is not a SQLite database or cannot be
    /// written, or it is already open.
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
        let places = Places::default();
        Ok(Self(Arc::new(Shared {
            path: path.to_owned(),
            places: places.clone(),
            in_file: OnceLock::new(),
            readers: readers()?,
            look_ups: readers()?,
            writer: Workers::writing(writer, &file, places).map_err(failed)?,
        })))
    }

    /// Runs this on the thread that writes, and returns once it is durable.
    ///
    /// The work shares its transaction with other callers' work, and sees what ran before it. If it fails or panics,
    /// only its own statements are undone. It should be short, because all other writers wait for it. It must not begin
    /// or end transactions, nor break a deferred foreign key, which SQLite checks for the whole transaction: then all
    /// work in it is undone, and the next writes are committed one by one. If a statement ends the transaction anyway,
    /// such as an `insert or rollback`, a trigger's `raise(rollback)` or one that finds the disk full, all work in it
    /// is undone, even if the closure does not return the error. SQLite's commit, rollback, update and write-ahead log hooks and
    /// its authorizer belong to this library. The authorizer refuses `attach`, and pragmas that would change how this thread works for
    /// others, such as `query_only`. If the closure sets a time limit for locks or a progress handler, it is removed
    /// afterwards.
    ///
    /// Once this future has been polled, the work is done even if the future is dropped.
    ///
    /// # Errors
    ///
    /// [`SqliteStoreError::Work`] with the closure's own error, [`SqliteStoreError::Panicked`], and
    /// [`SqliteStoreError::RolledBack`] if other work ended the transaction: nothing was committed.
    /// [`SqliteStoreError::Overloaded`] if thousands of writes are waiting: nothing was done.
    /// [`SqliteStoreError::Commit`] and [`SqliteStoreError::Stopped`]: it is not certain that the work was committed.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, SqliteStoreError> {
        self.write_and_then(work, |_| (), Turn::New).await
    }

    /// Runs this on a thread that only reads, outside a transaction, in parallel with writes.
    ///
    /// It sees everything that was committed before it. Several statements see one state of the database between
    /// `begin` and `commit`.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write); an attempt to write is an error. [`SqliteStoreError::Overloaded`] if thousands of
    /// reads are waiting. A read whose future is dropped before its turn is not done.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, SqliteStoreError> {
        read_on(&self.0.readers, work).await
    }

    /// [`read`](Self::read) for the store, on threads that the application's work cannot occupy.
    pub(super) async fn look_up<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, SqliteStoreError> {
        read_on(&self.0.look_ups, work).await
    }

    /// Where the records are in the file, what they take (counted in the background), and the file's time, once its
    /// tables exist.
    pub(super) fn in_file(&self) -> Result<InFile, SqliteStoreError> {
        if let Some(in_file) = self.0.in_file.get() {
            return Ok(in_file.clone());
        }
        let places = self.0.places.clone();
        self.write_blocking(move |_| {
            places.begin_use();
            Ok(())
        })?;
        // The next transaction has begun by reading the index. The thread that writes cannot write a record before this
        // is in place.
        let database = self.clone();
        self.write_blocking(move |connection| {
            if let Some(in_file) = database.0.in_file.get() {
                return Ok(in_file.clone());
            }
            let places = &database.0.places;
            let room = if index::has_records(connection)? {
                database.count_records()
            } else {
                Room::empty()
            };
            let timeline = Timeline::load(connection)?;
            let in_file = (places.clone(), room, timeline);
            Ok(database.0.in_file.get_or_init(|| in_file).clone())
        })
    }

    /// Runs on the thread that writes: what it has committed is counted, and what it writes from here on is not.
    fn count_records(&self) -> Room {
        let room = Room::default();
        let (begun, has_begun) = mpsc::sync_channel(1);
        let count = Call::new(room.counting(begun), |_| ());
        // Without a count nothing is refused. Whatever can fail here makes the next step fail too.
        if self.0.look_ups.send(Box::new(count), Turn::New).is_ok() {
            let _: Result<(), _> = has_begun.recv();
        }
        room
    }

    pub(super) fn path(&self) -> &Path {
        &self.0.path
    }

    /// Whether both are handles on one file.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// [`write`](Self::write), followed by this once it is durable, whether or not the caller still waits.
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

/// If the caller has left by its turn, the work is not done.
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
