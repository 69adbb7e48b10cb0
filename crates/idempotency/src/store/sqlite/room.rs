//! What the records take, of each scope and of all, counted exactly and in this process: no other one has the file.

use std::{
    collections::HashMap,
    sync::{Arc, Weak, mpsc},
};

use parking_lot::Mutex;
use rusqlite::{Connection, Error, Row};

use super::{row::Stored, statements::COUNT};
use crate::{
    ScopeId, StoreError,
    log_text::Causes,
    store::share::{BYTES_PER_RECORD, admit},
};

/// The counts of one file. All stores in it share them.
#[derive(Clone, Default)]
pub(super) struct Room(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    bytes: Bytes,
    /// Whether what was in the file at the start is in there.
    is_whole: bool,
}

/// Until what was in the file is counted, what is taken away from it makes these negative.
#[derive(Default)]
struct Bytes {
    all: i64,
    /// Only of scopes that have records.
    scopes: HashMap<ScopeId, i64>,
}

/// What one record takes, and of whom; nobody is known for a record of an earlier version of this library.
#[derive(Clone, Copy)]
pub(super) struct Counted {
    scope: Option<ScopeId>,
    bytes: i64,
}

/// What a step changes. It is counted once that is durable.
#[derive(Default)]
pub(super) struct Changes(Vec<Counted>);

/// After so many records the count looks whether anybody still needs it.
const COUNTED_AT_ONCE: usize = 1024;

impl Room {
    /// Of a file without records.
    pub(super) fn empty() -> Self {
        let room = Self::default();
        room.0.lock().is_whole = true;
        room
    }

    /// Whether there is room for a new record of this scope. Nothing is refused before the file is counted.
    pub(super) fn admit(&self, scope: &ScopeId, limit: usize) -> Result<(), StoreError> {
        let counts = self.0.lock();
        if !counts.is_whole {
            return Ok(());
        }
        let own = counts.bytes.scopes.get(scope).copied().unwrap_or_default();
        let (own, used) = (size(own), size(counts.bytes.all));
        drop(counts);
        admit(scope, own, used, limit).map(drop)
    }

    pub(super) fn count(&self, Changes(changes): &Changes) {
        if changes.is_empty() {
            return;
        }
        let mut counts = self.0.lock();
        changes.iter().for_each(|change| counts.bytes.add(change));
    }

    /// What counts the file as it is when this work begins, which it tells. What is written later is counted as it is
    /// written, so that nothing is missed or counted twice.
    ///
    /// The count keeps no room alive: whoever closes the file waits for this work.
    pub(super) fn counting(
        &self,
        has_begun: mpsc::SyncSender<()>,
    ) -> impl FnOnce(&Connection) -> Result<(), Error> + Send + use<> {
        let room = Arc::downgrade(&self.0);
        move |connection| {
            let counted = count(connection, &has_begun, &room);
            if let Err(error) = &counted {
                tracing::error!(
                    error = %Causes(error),
                    "the records in a SQLite file could not be counted: its limit holds from the next start",
                );
            }
            counted
        }
    }
}

fn count(
    connection: &Connection,
    has_begun: &mpsc::SyncSender<()>,
    room: &Weak<Mutex<Counts>>,
) -> Result<(), Error> {
    connection.execute_batch("begin")?;
    let mut records = connection.prepare(COUNT)?;
    let mut rows = records.query(())?;
    let mut bytes = Bytes::default();
    // The first row is of the state that all the others are of.
    let mut row = rows.next()?;
    let _: Result<(), _> = has_begun.send(());
    let mut number: usize = 0;
    while let Some(record) = row {
        if let Some(counted) = Counted::read(record)? {
            bytes.add(&counted);
        }
        number += 1;
        if number.is_multiple_of(COUNTED_AT_ONCE) && room.strong_count() == 0 {
            return Ok(());
        }
        row = rows.next()?;
    }
    let Some(room) = room.upgrade() else {
        return Ok(());
    };
    let mut counts = room.lock();
    // These are many, and those of the meantime few.
    let Bytes { all, scopes } = std::mem::replace(&mut counts.bytes, bytes);
    let known: i64 = scopes.values().sum();
    for (scope, bytes) in scopes {
        counts.bytes.add(&Counted {
            scope: Some(scope),
            bytes,
        });
    }
    counts.bytes.all += all - known;
    counts.is_whole = true;
    Ok(())
}

impl Bytes {
    fn add(&mut self, Counted { scope, bytes }: &Counted) {
        self.all += bytes;
        let Some(scope) = scope else { return };
        let own = self.scopes.entry(*scope).or_default();
        *own += bytes;
        if *own == 0 {
            self.scopes.remove(scope);
        }
    }
}

impl Counted {
    pub(super) fn new(scope: Option<ScopeId>, left: usize) -> Self {
        let bytes = BYTES_PER_RECORD.saturating_add(left);
        Self {
            scope,
            bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
        }
    }

    /// None for a key that is free, as in memory.
    pub(super) fn of(stored: &Stored) -> Option<Self> {
        (!stored.is_free()).then(|| Self::new(stored.scope, stored.left().len()))
    }

    /// Of a row of scope, attempt and the length of what its run has left. A record that cannot be read has these all the same.
    pub(super) fn read(row: &Row<'_>) -> Result<Option<Self>, Error> {
        let (scope, attempt) = (row.get(0)?, row.get::<_, i64>(1)?);
        let left: Option<i64> = row.get(2)?;
        let left = usize::try_from(left.unwrap_or_default()).unwrap_or_default();
        Ok((attempt > 0).then(|| Self::new(scope, left)))
    }
}

impl Changes {
    pub(super) fn added(&mut self, counted: Counted) {
        self.0.push(counted);
    }

    pub(super) fn removed(&mut self, counted: Option<Counted>) {
        self.0
            .extend(counted.map(|Counted { scope, bytes }| Counted {
                scope,
                bytes: -bytes,
            }));
    }

    /// The same record with so many bytes that its run has left.
    pub(super) fn replaced(&mut self, counted: Option<Counted>, left: usize) {
        if let Some(Counted { scope, .. }) = counted {
            self.removed(counted);
            self.added(Counted::new(scope, left));
        }
    }
}

fn size(bytes: i64) -> usize {
    usize::try_from(bytes.max(0)).unwrap_or(usize::MAX)
}
