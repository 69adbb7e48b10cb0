//! A SQLite store whose process dies. What is left is the file, and a new process opens that.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use idempotency::{
    Clock, SqliteStore, Store,
    store::{Hold, IfOwner, RecordId, Token},
};
use tempfile::TempDir;
use tokio::{sync::Mutex, task::block_in_place};

use crate::backend::Backend;

/// What a process that dies leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// All that the store has written.
    Everything,
    /// The database without its log, where every commit is first: a mistake that has to be found.
    NoLog,
}

/// The file, of which each process has its own copy.
#[derive(Debug)]
pub(crate) struct KilledProcess {
    folder: TempDir,
    clock: Clock,
    left: Left,
    process: Mutex<Process>,
}

#[derive(Debug)]
struct Process {
    number: usize,
    store: SqliteStore,
}

impl KilledProcess {
    /// Ends the process between two commits, and returns the store of the next one.
    ///
    /// What the store has confirmed is in the file. What is queued, or in the transaction that is under way, is not. The dead process still
    /// runs on its own copy, and its callers must not listen to it.
    pub(crate) async fn kill(&self) -> Arc<SqliteStore> {
        let mut process = self.process.lock().await;
        // A call that writes, after which the file knows the time. Otherwise the next process would take the time since the last one for a jump of
        // the clock, and leases do not go on during a jump.
        let told = process.store.release(&nobodys_hold()).await;
        assert_eq!(told.ok(), Some(IfOwner::NotOwner));
        let number = process.number + 1;
        let (from, to) = (self.file(process.number), self.file(number));
        let (to_open, left) = (to.clone(), self.left);
        // On the thread that writes, where no commit and no checkpoint is half done.
        let copied = process.store.database().write(move |_| {
            copy(&from, &to, left).expect("a copy of the file");
            Ok(())
        });
        copied.await.expect("a turn of the thread that writes");
        let store = block_in_place(|| open(&to_open, &self.clock));
        *process = Process {
            number,
            store: store.clone(),
        };
        Arc::new(store)
    }

    fn file(&self, process: usize) -> PathBuf {
        file(&self.folder, process)
    }
}

/// A store in a file, whose processes leave this.
pub(crate) fn sqlite(left: Left) -> Backend {
    let folder = TempDir::new().expect("a folder");
    let clock = Clock::manual();
    let store = open(&file(&folder, 0), &clock);
    let process = Mutex::new(Process {
        number: 0,
        store: store.clone(),
    });
    let killed = KilledProcess {
        folder,
        clock: clock.clone(),
        left,
        process,
    };
    Backend::on_killed(store, move |time| clock.advance(time), killed)
}

fn nobodys_hold() -> Hold {
    let (id, token) = ([u8::MAX; 32], [u8::MAX; 16]);
    Hold::new(
        RecordId::from_bytes(id),
        Token::from_bytes(token),
        Duration::ZERO,
        Duration::ZERO,
    )
}

fn open(file: &Path, clock: &Clock) -> SqliteStore {
    let store = SqliteStore::open(file).expect("a store");
    store.with_clock(clock.clone())
}

fn file(folder: &TempDir, process: usize) -> PathBuf {
    folder.path().join(format!("keys-{process}.db"))
}

/// To read the database and close it again drops the locks that SQLite has on it. No other process opens it.
fn copy(from: &Path, to: &Path, left: Left) -> io::Result<()> {
    fs::copy(from, to)?;
    if left == Left::Everything {
        fs::copy(from.with_extension("db-wal"), to.with_extension("db-wal"))?;
    }
    Ok(())
}
