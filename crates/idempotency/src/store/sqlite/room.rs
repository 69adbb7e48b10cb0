//! How much the records of each scope and of all scopes take, counted exactly and in this process, because no other
//! process has the file.

use std::{
    collections::HashMap,
    sync::{Arc, Weak, mpsc},
};

use parking_lot::Mutex;
use rusqlite::{Connection, Error, Row};

use super::{row::Stored, statements::COUNT};
use crate::{
    log_text::Causes,
    record::ScopeId,
    store::{
        StoreError,
        share::{BYTES_PER_RECORD, admit},
    },
};

/// The counts of one file. All stores in it share them.
#[derive(Clone, Default)]
pub(super) struct Room(Arc<Mutex<Counts>>);

#[derive(Default)]
struct Counts {
    bytes: Bytes,
    /// Whether the records that were in the file at the start are counted.
    is_whole: bool,
}

/// Until the file has been counted, removals can make these negative.
#[derive(Default)]
struct Bytes {
    all: i64,
    /// Only scopes that have records.
    scopes: HashMap<ScopeId, i64>,
}

/// What one record takes, and its scope, which is unknown for a record of an earlier version of this library.
#[derive(Clone, Copy)]
pub(super) struct Counted {
    scope: Option<ScopeId>,
    bytes: i64,
}

/// What a step changes. It is counted once the step is durable.
#[derive(Default)]
pub(super) struct Changes(Vec<Counted>);

/// After this many records the count checks whether it is still needed.
const COUNTED_AT_ONCE: usize = 1024;

impl Room {
    /// The counts of a file without records.
    pub(super) fn empty() -> Self {
        let room = Self::default();
        room.0.lock().is_whole = true;
        room
    }

    /// Checks that there is room for a new record of this scope. Nothing is refused before the file is counted.
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

    /// Counts the file as it is when this work begins, and signals that it has begun. Later writes are counted as they
    /// are written, so that nothing is missed or counted twice.
    ///
    /// It holds no strong reference, because closing the file waits for this work.
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
                    "the records in a SQLite file could not be counted: its limit applies from the next start",
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
    // Reading the first row fixes the snapshot for all rows.
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
    // The counted scopes are many, and those of the meantime few.
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

    /// `None` for a free key, as in the memory store.
    pub(super) fn of(stored: &Stored) -> Option<Self> {
        (!stored.is_free()).then(|| Self::new(stored.scope, stored.left().len()))
    }

    /// Of a row with the scope, the attempt and the length of what the run has stored. A record that cannot be read has
    /// these too.
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

    /// Counts the same record with the new length of what its run has stored.
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
