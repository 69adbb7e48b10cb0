//! The threads that own the connections: one writes, in batches, and the others read beside it.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
};

use parking_lot::Mutex;
use rusqlite::Connection;

use super::{SqliteError, file::LockedFile, job::Job};

/// Threads that take jobs from one queue. Dropped, they finish what is queued, close the file and end.
pub(super) struct Workers {
    queue: Option<Sender<Box<dyn Job>>>,
    threads: Vec<JoinHandle<()>>,
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
            queue: Some(queue),
            threads: vec![thread],
        })
    }

    /// A thread for each of these connections, all of which only read.
    pub(super) fn reading(
        connections: impl IntoIterator<Item = Connection>,
        file: &Arc<LockedFile>,
    ) -> io::Result<Self> {
        let (queue, jobs) = mpsc::channel();
        let jobs = Arc::new(Mutex::new(jobs));
        let mut workers = Self {
            queue: Some(queue),
            threads: Vec::new(),
        };
        for connection in connections {
            let (file, jobs) = (Arc::clone(file), Arc::clone(&jobs));
            let thread = thread::Builder::new().name("sqlite-reader".into());
            workers.threads.push(thread.spawn(move || {
                read(&connection, &jobs);
                drop(connection);
                drop(file);
            })?);
        }
        Ok(workers)
    }

    pub(super) fn send(&self, job: Box<dyn Job>) -> Result<(), SqliteError> {
        self.queue
            .as_ref()
            .and_then(|queue| queue.send(job).ok())
            .ok_or(SqliteError::Stopped)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            // A closure that held the last handle is dropped on the very thread that ran it.
            if thread.thread().id() != thread::current().id() {
                // A thread that panicked has said so already.
                drop(thread.join());
            }
        }
    }
}

fn read(connection: &Connection, jobs: &Mutex<Receiver<Box<dyn Job>>>) {
    loop {
        // Whoever waits for a job has the lock, and lets it go when there is one.
        let Ok(mut job) = jobs.lock().recv() else {
            return;
        };
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
