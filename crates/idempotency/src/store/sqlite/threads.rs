//! The threads that own the connections: one writes, in batches, and the others read beside it.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
};

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;

use super::{SqliteError, file::LockedFile, job::Job};

/// Threads that take jobs from one queue. Dropped, they finish what is queued, close the file and end.
pub(super) struct Workers {
    queue: Queue,
    threads: Vec<JoinHandle<()>>,
}

enum Queue {
    OfOne(Option<Sender<Box<dyn Job>>>),
    OfMany(Arc<Shared>),
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

impl Shared {
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
const MOST_IN_A_BATCH: usize = 128;

impl Workers {
    /// The one thread that writes.
    pub(super) fn writing(connection: Connection, file: &Arc<LockedFile>) -> io::Result<Self> {
        let (queue, jobs) = mpsc::channel();
        let file = Arc::clone(file);
        let thread = thread::Builder::new().name("sqlite-writer".into());
        let thread = thread.spawn(move || {
            write(&connection, &jobs);
            // The lock goes last, when SQLite has let the file go.
            drop(connection);
            drop(file);
        })?;
        Ok(Self {
            queue: Queue::OfOne(Some(queue)),
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

    pub(super) fn send(&self, job: Box<dyn Job>) -> Result<(), SqliteError> {
        match &self.queue {
            Queue::OfOne(Some(queue)) => queue.send(job).map_err(|_| SqliteError::Stopped),
            Queue::OfOne(None) => Err(SqliteError::Stopped),
            Queue::OfMany(queue) => {
                queue.jobs.lock().waiting.push_back(job);
                queue.arrived.notify_one();
                Ok(())
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        match &mut self.queue {
            Queue::OfOne(queue) => *queue = None,
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

fn read(connection: &Connection, jobs: &Shared) {
    while let Some(mut job) = jobs.next() {
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
fn write(connection: &Connection, jobs: &Receiver<Box<dyn Job>>) {
    let mut batch = Vec::with_capacity(MOST_IN_A_BATCH);
    while let Ok(first) = jobs.recv() {
        batch.push(first);
        let lost = commit(connection, jobs, &mut batch).err();
        if !connection.is_autocommit() {
            // Should this fail too, then so does the next batch, because it cannot begin.
            drop(connection.execute_batch("rollback"));
        }
        for job in batch.drain(..) {
            job.answer(lost.as_ref());
        }
    }
}

/// Runs the batch's one job, and those that follow it in the queue, and commits.
///
/// `immediate` takes the right to write at the start: a transaction that reads first and then wants to write is
/// refused at once if another program has written meanwhile.
fn commit(
    connection: &Connection,
    jobs: &Receiver<Box<dyn Job>>,
    batch: &mut Vec<Box<dyn Job>>,
) -> Result<(), Arc<rusqlite::Error>> {
    execute(connection, "begin immediate")?;
    while let Some(job) = batch.last_mut() {
        run(connection, job.as_mut())?;
        if batch.len() >= MOST_IN_A_BATCH {
            break;
        }
        match jobs.try_recv() {
            Ok(job) => batch.push(job),
            Err(_) => break,
        }
    }
    execute(connection, "commit")
}

/// Runs one job so that its failure undoes nobody else's work. An error means that the transaction is lost.
fn run(connection: &Connection, job: &mut dyn Job) -> Result<(), Arc<rusqlite::Error>> {
    execute(connection, "savepoint job")?;
    if let Err(failure) = job.run(connection) {
        // A full disk, among others, makes SQLite roll back everything at once.
        if connection.is_autocommit()
            && let SqliteError::Work(cause) = failure
        {
            return Err(cause);
        }
        execute(connection, "rollback to job")?;
    }
    execute(connection, "release job")
}

fn execute(connection: &Connection, statement: &str) -> Result<(), Arc<rusqlite::Error>> {
    let mut statement = connection.prepare_cached(statement)?;
    statement.execute(())?;
    Ok(())
}
