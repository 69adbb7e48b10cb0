//! The threads that own the connections: one writes, in batches, and the others read beside it.

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

use super::{
    SqliteStoreError,
    file::LockedFile,
    guard::{self, Guard, execute},
    job::Job,
};

/// Threads that take jobs from one queue. Dropped, they finish what is queued, close the file and end.
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

/// Whether a job may be refused because thousands wait already.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Turn {
    /// It begins something.
    New,
    /// It belongs to a run that has begun, of which there are not that many: its end must not be kept out by others.
    Due,
}

/// What the thread that writes is sent.
struct Inbox {
    jobs: Receiver<Box<dyn Job>>,
    waiting: Arc<AtomicUsize>,
}

/// A queue for several threads, of which one is woken for each job. A channel behind a lock would wake two: the one
/// that gets the job, and the one that waits in its place for the next.
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

/// How many may wait. Reads whose callers have left are not counted; writes are done without them.
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
        // They are the application's, whose drop may take its time.
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
    pub(super) fn writing(connection: Connection, file: &Arc<LockedFile>) -> io::Result<Self> {
        let (queue, jobs) = mpsc::channel();
        let waiting = Arc::<AtomicUsize>::default();
        let inbox = Inbox {
            jobs,
            waiting: Arc::clone(&waiting),
        };
        let file = Arc::clone(file);
        let thread = thread::Builder::new().name("sqlite-writer".into());
        let thread = thread.spawn(move || {
            write(&connection, &file, &inbox);
            // The lock goes last, when SQLite has let the file go.
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

    /// A thread for each of these connections, all of which only read.
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
                // A thread that panicked has said so already.
                drop(thread.join());
            }
        }
    }
}

impl Inbox {
    /// The next job; `None` once nobody can send any.
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
            // Its drop is the application's too.
            job.answer(None);
            continue;
        }
        // Who asked gets the error by its answer.
        drop(job.run(connection));
        if !connection.is_autocommit() {
            // Left open, it would show this thread the past for ever.
            drop(connection.execute_batch("rollback"));
        }
        job.answer(None);
    }
}

/// One transaction after the other, each with all that was queued while the one before it was being made durable.
fn write(connection: &Connection, file: &LockedFile, inbox: &Inbox) {
    let guard = Guard::default();
    let mut batch = Vec::with_capacity(MAX_BATCH);
    let mut alone: usize = 0;
    while let Some(first) = inbox.next() {
        batch.push(first);
        let most = if alone > 0 { 1 } else { MAX_BATCH };
        alone = alone.saturating_sub(1);
        let cause = match commit(connection, file, &guard, inbox, &mut batch, most) {
            Ok(()) => {
                batch.drain(..).for_each(|job| job.answer(None));
                continue;
            }
            Err(cause) => cause,
        };
        match cause.sqlite_error_code() {
            // Who has waited for the file as long as this one is not made to wait again.
            Some(ErrorCode::DatabaseBusy) => {
                batch.extend(iter::from_fn(|| inbox.next_if_any()));
            }
            // A deferred foreign key, of which nobody knows whose it is: the next time only its owner fails.
            Some(ErrorCode::ConstraintViolation) if batch.len() > 1 => alone = MAX_BATCH,
            _ => {}
        }
        let lost = guard.abandon(connection, cause);
        batch.drain(..).for_each(|job| job.answer(Some(&lost)));
    }
}

/// Runs the batch's one job, and those that follow it in the queue, and commits.
fn commit(
    connection: &Connection,
    file: &LockedFile,
    guard: &Guard,
    inbox: &Inbox,
    batch: &mut Vec<Box<dyn Job>>,
    most: usize,
) -> Result<(), Arc<rusqlite::Error>> {
    guard.begin(connection)?;
    if !file.is_in_place() {
        return Err(Arc::new(guard::moved()));
    }
    while let Some(job) = batch.last_mut() {
        run(connection, guard, job.as_mut())?;
        if batch.len() >= most {
            break;
        }
        match inbox.next_if_any() {
            Some(job) => batch.push(job),
            None => break,
        }
    }
    guard.commit(connection)
}

/// Runs one job so that its failure undoes nobody else's work. An error means that the transaction is lost.
///
/// The savepoint has a name that no work uses for its own.
fn run(
    connection: &Connection,
    guard: &Guard,
    job: &mut dyn Job,
) -> Result<(), Arc<rusqlite::Error>> {
    execute(connection, "savepoint idempotency_job")?;
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
    }
    execute(connection, "release idempotency_job")
}
