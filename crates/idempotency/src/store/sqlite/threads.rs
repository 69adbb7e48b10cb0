//! The threads that own the connections: one writes, in batches, and the others read in parallel.

use std::{
    collections::VecDeque,
    io, iter, mem,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
};

use parking_lot::{Condvar, Mutex};
use rusqlite::{Connection, ErrorCode};

use crate::log_text::Causes;

use super::{
    SqliteStoreError,
    file::LockedFile,
    guard::{self, Guard, Lost, execute},
    index,
    job::{Call, Job},
    loading,
    log::Log,
    places::Places,
};

/// Threads that take jobs from one queue. When dropped, they finish what is queued, close the file and end.
pub(super) struct Workers {
    queue: Queue,
    threads: Vec<JoinHandle<()>>,
}

enum Queue {
    OfOne {
        jobs: Option<Sender<Box<dyn Job>>>,
        waiting: Arc<AtomicUsize>,
    },
    OfMany(Arc<Shared>),
}

/// Whether a job may be refused because thousands are waiting.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Turn {
    /// It begins something.
    New,
    /// It belongs to a run that has begun. There are few of those, and other jobs must not keep out their ends.
    Due,
}

/// A message to the thread that writes.
struct Inbox {
    jobs: Receiver<Box<dyn Job>>,
    waiting: Arc<AtomicUsize>,
}

/// A queue for several threads that wakes one of them for each job. A channel inside a lock would wake two: the one
/// that gets the job, and the one that waits for the next in its place.
#[derive(Default)]
struct Shared {
    jobs: Mutex<Jobs>,
    arrived: Condvar,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Box<dyn Job>>,
    closed: bool,
}

/// How many jobs may wait. Reads whose callers have left are not counted; writes are done even if their callers have
/// left.
const MAX_WAITING: usize = 4096;

impl Shared {
    fn push(&self, job: Box<dyn Job>) -> Result<(), SqliteStoreError> {
        let mut jobs = self.jobs.lock();
        let mut abandoned = VecDeque::new();
        if jobs.waiting.len() >= MAX_WAITING {
            (abandoned, jobs.waiting) = mem::take(&mut jobs.waiting)
                .into_iter()
                .partition(|job| job.is_abandoned());
        }
        let has_room = jobs.waiting.len() < MAX_WAITING;
        if has_room {
            jobs.waiting.push_back(job);
        }
        drop(jobs);
        self.arrived.notify_one();
        // They are the application's, and dropping them may take time.
        abandoned.into_iter().for_each(|job| job.answer(None));
        if has_room {
            Ok(())
        } else {
            Err(SqliteStoreError::Overloaded)
        }
    }

    /// The next job; `None` once the queue is closed and empty.
    fn next(&self) -> Option<Box<dyn Job>> {
        let mut jobs = self.jobs.lock();
        loop {
            if let Some(job) = jobs.waiting.pop_front() {
                return Some(job);
            }
            if jobs.closed {
                return None;
            }
            self.arrived.wait(&mut jobs);
        }
    }
}

/// More would make the first caller of a batch wait for the last one without saving much of the commit's cost.
const MAX_BATCH: usize = 128;

impl Workers {
    /// The one thread that writes.
    pub(super) fn writing(
        connection: Connection,
        file: &Arc<LockedFile>,
        places: Places,
    ) -> io::Result<Self> {
        let (queue, jobs) = mpsc::channel();
        let waiting = Arc::<AtomicUsize>::default();
        let inbox = Inbox {
            jobs,
            waiting: Arc::clone(&waiting),
        };
        let file = Arc::clone(file);
        let thread = thread::Builder::new().name("sqlite-writer".into());
        let thread = thread.spawn(move || {
            write(&connection, &file, &places, &inbox);
            // The lock is released last, when SQLite has closed the file.
            drop(connection);
            drop(file);
        })?;
        Ok(Self {
            queue: Queue::OfOne {
                jobs: Some(queue),
                waiting,
            },
            threads: vec![thread],
        })
    }

    /// One thread for each of these read-only connections.
    pub(super) fn reading(
        connections: impl IntoIterator<Item = Connection>,
        file: &Arc<LockedFile>,
    ) -> io::Result<Self> {
        let queue = Arc::new(Shared::default());
        let mut workers = Self {
            queue: Queue::OfMany(Arc::clone(&queue)),
            threads: Vec::new(),
        };
        for connection in connections {
            let (file, queue) = (Arc::clone(file), Arc::clone(&queue));
            let thread = thread::Builder::new().name("sqlite-reader".into());
            workers.threads.push(thread.spawn(move || {
                read(&connection, &queue);
                drop(connection);
                drop(file);
            })?);
        }
        Ok(workers)
    }

    pub(super) fn send(&self, job: Box<dyn Job>, turn: Turn) -> Result<(), SqliteStoreError> {
        match &self.queue {
            Queue::OfOne {
                jobs: Some(jobs),
                waiting,
            } => {
                if turn == Turn::New && waiting.load(Ordering::Relaxed) >= MAX_WAITING {
                    return Err(SqliteStoreError::Overloaded);
                }
                waiting.fetch_add(1, Ordering::Relaxed);
                jobs.send(job).map_err(|_| SqliteStoreError::Stopped)
            }
            Queue::OfOne { jobs: None, .. } => Err(SqliteStoreError::Stopped),
            Queue::OfMany(queue) => queue.push(job),
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        match &mut self.queue {
            Queue::OfOne { jobs, .. } => *jobs = None,
            Queue::OfMany(queue) => {
                queue.jobs.lock().closed = true;
                queue.arrived.notify_all();
            }
        }
        for thread in self.threads.drain(..) {
            // A closure that held the last handle is dropped on the very thread that ran it.
            if thread.thread().id() != thread::current().id() {
                // A thread that panicked has already reported it.
                drop(thread.join());
            }
        }
    }
}

impl Inbox {
    /// The next job; `None` once no sender is left.
    fn next(&self) -> Option<Box<dyn Job>> {
        self.taken(self.jobs.recv().ok())
    }

    fn next_if_any(&self) -> Option<Box<dyn Job>> {
        self.taken(self.jobs.try_recv().ok())
    }

    fn taken(&self, job: Option<Box<dyn Job>>) -> Option<Box<dyn Job>> {
        if job.is_some() {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
        job
    }
}

fn read(connection: &Connection, jobs: &Shared) {
    while let Some(mut job) = jobs.next() {
        if job.is_abandoned() {
            // Dropping it runs the application's code too.
            job.answer(None);
            continue;
        }
        // The caller receives the error with its result.
        drop(job.run(connection));
        if !connection.is_autocommit() {
            // If it stayed open, this thread would see an old state forever.
            drop(connection.execute_batch("rollback"));
        }
        job.answer(None);
    }
}

/// One transaction after the other, each with everything that was queued while the previous one was being made durable.
fn write(connection: &Connection, file: &LockedFile, places: &Places, inbox: &Inbox) {
    let guard = Guard::default();
    let mut log = Log::new();
    let mut batch = Vec::with_capacity(MAX_BATCH);
    let mut alone: usize = 0;
    while let Some(first) = inbox.next() {
        batch.push(first);
        let most = if alone > 0 { 1 } else { MAX_BATCH };
        alone = alone.saturating_sub(1);
        let cause = match commit(connection, file, &guard, places, inbox, &mut batch, most) {
            Ok(()) => {
                places.commit();
                batch.drain(..).for_each(|job| job.answer(None));
                log.move_if_long(connection);
                continue;
            }
            Err(cause) => cause,
        };
        match cause.sqlite_error_code() {
            // Work that has waited for the file just as long does not wait again.
            Some(ErrorCode::DatabaseBusy) => {
                batch.extend(iter::from_fn(|| inbox.next_if_any()));
            }
            // A deferred foreign key of unknown origin: next time only the work that broke it fails.
            Some(ErrorCode::ConstraintViolation) if batch.len() > 1 => alone = MAX_BATCH,
            _ => {}
        }
        let lost = guard.abandon(connection, cause);
        match lost {
            Lost::Undone(_) => places.undo(),
            Lost::Unknown(_) => places.forget(),
        }
        batch.drain(..).for_each(|job| job.answer(Some(&lost)));
    }
}

/// Runs the batch's one job and the jobs that follow it in the queue, and commits.
fn commit(
    connection: &Connection,
    file: &LockedFile,
    guard: &Guard,
    places: &Places,
    inbox: &Inbox,
    batch: &mut Vec<Box<dyn Job>>,
    most: usize,
) -> Result<(), Arc<rusqlite::Error>> {
    guard.begin(connection)?;
    loading::watch(connection, places)?;
    if !file.is_in_place() {
        return Err(Arc::new(guard::moved()));
    }
    loading::refresh(connection, file, places)?;
    while let Some(job) = batch.last_mut() {
        run(connection, guard, places, job.as_mut())?;
        if batch.len() >= most || places.is_to_be_read() {
            break;
        }
        match inbox.next_if_any() {
            Some(job) => batch.push(job),
            None => break,
        }
    }
    move_some(connection, guard, places)?;
    Log::watch(connection);
    guard.commit(connection)
}

/// Does a part of a round. If it fails, such as because its pages are damaged, its records stay in memory.
fn move_some(
    connection: &Connection,
    guard: &Guard,
    places: &Places,
) -> Result<(), Arc<rusqlite::Error>> {
    if !places.are_due() {
        return Ok(());
    }
    let work = |connection: &Connection| index::move_some(connection, places);
    let mut moves = Call::new(work, |moved: Result<(), SqliteStoreError>| {
        if let Err(error) = moved {
            tracing::error!(error = %Causes(&error), "the index of the records in a SQLite file could not be written");
        }
    });
    run(connection, guard, places, &mut moves)?;
    Box::new(moves).answer(None);
    Ok(())
}

/// Runs one job so that its failure undoes no other caller's work. An error means that the transaction is lost.
///
/// The savepoint has a name that no other work uses.
fn run(
    connection: &Connection,
    guard: &Guard,
    places: &Places,
    job: &mut (dyn Job + '_),
) -> Result<(), Arc<rusqlite::Error>> {
    execute(connection, "savepoint idempotency_job")?;
    let before = places.mark();
    let failure = job.run(connection).err();
    guard::reset(connection)?;
    if !guard.is_intact(connection) {
        return Err(match failure {
            Some(SqliteStoreError::Work(cause)) => cause,
            _ => Arc::new(guard::ended()),
        });
    }
    if failure.is_some() {
        execute(connection, "rollback to idempotency_job")?;
        places.undo_to(before);
    }
    execute(connection, "release idempotency_job")
}
