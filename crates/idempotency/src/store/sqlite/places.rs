//! Where the records are in the file: in memory for the recent ones, and by a filter whether an older one may exist.

use std::{collections::BTreeSet, mem, sync::Arc};

use parking_lot::Mutex;

use super::older::OlderIds;
use crate::record::RecordId;

/// The place of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    /// The first bytes of the record's id. Different ids may have the same, so only the row tells whose place it is.
    pub(super) start: Start,
    pub(super) place: i64,
}

pub(super) type Start = [u8; 8];

/// The next start, if there is one.
pub(super) fn following(start: Start) -> Option<Start> {
    let next = u64::from_be_bytes(start).checked_add(1);
    next.map(u64::to_be_bytes)
}

/// Where the record of one id may be.
pub(super) struct Candidates {
    /// The latest first.
    pub(super) recent: Vec<i64>,
    pub(super) may_be_older: bool,
}

/// The index of one file, kept by the thread that writes. Clones are handles on one index.
///
/// It says that a record does not exist, so it must have every record that the file has. That holds because only one
/// process has the file open: the thread that writes adds each record here with its row, and undoes that with the
/// transaction. If another program or the application's own work has written records after all, or it is not known
/// whether a transaction was committed, the index is read from the file again before the next write.
///
/// A record that is new is here only, until a round moves it to the table of older places, with those around it. So
/// memory is bounded, and neighbours in that table are written together, in one page.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<Mutex<State>>);

/// How many recent records begin a round. Until it ends, half as many may be added, which is 20 megabytes in all. After
/// a start there may be twice as many.
pub(super) const ROUND: usize = if cfg!(test) { 1 << 6 } else { 1 << 19 };

#[derive(Default)]
struct State {
    recent: BTreeSet<Entry>,
    older: OlderIds,
    /// The last place that was given to a record, and the last one whose record is durable.
    last: i64,
    durable: i64,
    round: Option<Round>,
    open: Open,
    /// The state of the file from which the index was made or continued. `None`: it is to be read again.
    version: Option<i64>,
    is_in_use: bool,
    /// A statement of the store is being run.
    is_own: bool,
}

/// The move of all records up to this place to the table of older places, in the order of their ids.
#[derive(Clone, Copy)]
struct Round {
    up_to: i64,
    from: Start,
}

/// What the open transaction has changed.
#[derive(Default)]
struct Open {
    added: Vec<Entry>,
    removed: Vec<Entry>,
    /// What was written to the table of older places.
    moved: Option<Moved>,
    /// Reading the index may have written to the table of older places too.
    is_loaded: bool,
}

/// A moment in the open transaction.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    added: usize,
    removed: usize,
}

/// A part of a round that is due.
pub(super) struct Due {
    pub(super) from: Start,
    pub(super) up_to: i64,
    pub(super) limit: usize,
}

/// A part of a round that was done.
pub(super) struct Moved {
    pub(super) entries: Vec<Entry>,
    /// Where the round goes on. `None`: it has ended, and the table of older places has all records that it was to move.
    pub(super) goes_on: Option<Start>,
}

impl Entry {
    pub(super) fn new(id: &RecordId, place: i64) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = *id.as_bytes();
        let start = [a, b, c, d, e, f, g, h];
        Self { start, place }
    }

    pub(super) const fn first_of(start: Start) -> Self {
        let place = i64::MIN;
        Self { start, place }
    }
}

impl Places {
    /// For a reader, which sees what is durable. It may learn of a record here that was removed or moved since, so that a place
    /// where it finds nothing proves nothing. `None`: the index is being read, so only the thread that writes knows.
    pub(super) fn durable(&self, id: &RecordId) -> Option<Candidates> {
        let state = self.0.lock();
        let candidates = || state.candidates(id, state.durable);
        state.is_durable().then(candidates)
    }

    /// For the thread that writes, which also sees what its transaction has added.
    pub(super) fn all(&self, id: &RecordId) -> Candidates {
        self.0.lock().candidates(id, i64::MAX)
    }

    /// The first durable places from here on, in the order of ids: so many, and those of ids that begin like the last.
    /// `None`: the index is being read.
    pub(super) fn durable_from(&self, start: Start, count: usize) -> Option<Vec<Entry>> {
        let state = self.0.lock();
        if !state.is_durable() {
            return None;
        }
        let from = state.recent.range(Entry::first_of(start)..);
        let durable = from.filter(|entry| entry.place <= state.durable);
        let mut found: Vec<Entry> = Vec::new();
        for entry in durable {
            if found.len() >= count && found.last().is_none_or(|last| last.start != entry.start) {
                break;
            }
            found.push(*entry);
        }
        Some(found)
    }

    /// A place behind all others, for this record. If another program has put a row into the very last one, it is taken.
    pub(super) fn add(&self, id: &RecordId) -> i64 {
        let mut state = self.0.lock();
        state.last = state.last.saturating_add(1);
        let entry = Entry::new(id, state.last);
        state.recent.insert(entry);
        state.open.added.push(entry);
        entry.place
    }

    /// The record's row is removed.
    pub(super) fn remove(&self, entry: Entry) {
        let mut state = self.0.lock();
        // The table of older places follows the rows by itself.
        if state.recent.remove(&entry) {
            state.open.removed.push(entry);
        }
    }

    /// Whether there is a round, or one begins.
    pub(super) fn are_due(&self) -> bool {
        let state = self.0.lock();
        state.round.is_some() || state.recent.len() >= ROUND
    }

    /// What this transaction is to move, if there is a round: more than it has added, so that the round ends.
    pub(super) fn due(&self) -> Option<Due> {
        let mut state = self.0.lock();
        state.version?;
        if state.round.is_none() && state.recent.len() >= ROUND {
            state.older.begin_round();
            state.round = Some(Round {
                up_to: state.durable,
                from: Start::default(),
            });
        }
        state.round.map(|Round { up_to, from }| Due {
            from,
            up_to,
            limit: 64 + 2 * state.open.added.len(),
        })
    }

    /// The next records of a round, in the order of their ids.
    pub(super) fn to_move(&self, due: &Due) -> Vec<Entry> {
        let state = self.0.lock();
        let entries = state.recent.range(Entry::first_of(due.from)..);
        let entries = entries.filter(|entry| entry.place <= due.up_to);
        entries.take(due.limit).copied().collect()
    }

    /// The round comes by these older ids.
    pub(super) fn pass(&self, starts: &[Start]) {
        let mut state = self.0.lock();
        starts.iter().for_each(|start| state.older.pass(*start));
    }

    /// They were written to the table of older places, and stay here until that is durable.
    pub(super) fn moved(&self, moved: Moved) {
        let mut state = self.0.lock();
        for entry in &moved.entries {
            state.older.add(entry.start);
        }
        state.open.moved = Some(moved);
    }

    pub(super) fn mark(&self) -> Mark {
        let open = &self.0.lock().open;
        Mark {
            added: open.added.len(),
            removed: open.removed.len(),
        }
    }

    /// The transaction has undone what came after this mark.
    pub(super) fn undo_to(&self, mark: Mark) {
        self.0.lock().undo_to(mark);
    }

    /// The transaction was committed.
    pub(super) fn commit(&self) {
        let mut state = self.0.lock();
        let state = &mut *state;
        let open = mem::take(&mut state.open);
        state.durable = state.last;
        if let Some(Moved { entries, goes_on }) = &open.moved {
            entries
                .iter()
                .for_each(|entry| _ = state.recent.remove(entry));
            match (goes_on, &mut state.round) {
                (Some(from), Some(round)) => round.from = *from,
                _ => {
                    state.round = None;
                    state.older.end_round();
                }
            }
        }
        // The buffers are kept for the next transaction.
        state.open.reuse(open);
    }

    /// Nothing of the transaction was committed.
    pub(super) fn undo(&self) {
        let mut state = self.0.lock();
        let start = Mark {
            added: 0,
            removed: 0,
        };
        state.undo_to(start);
        if mem::take(&mut state.open).is_loaded {
            state.version = None;
        }
    }

    /// It is not known whether the transaction was committed, so the index is read again before the next write.
    pub(super) fn forget(&self) {
        let mut state = self.0.lock();
        state.open = Open::default();
        state.version = None;
    }

    /// The file does not have what the index says, or has more, so the index is read again before the next write.
    pub(super) fn distrust(&self) {
        self.0.lock().version = None;
    }

    /// Runs a statement of the store on a row that the index has.
    pub(super) fn own<T>(&self, statement: impl FnOnce() -> T) -> T {
        self.0.lock().is_own = true;
        let done = statement();
        self.0.lock().is_own = false;
        done
    }

    /// The row in this place was added or changed. If not by the store, the index is read again before the next work.
    /// Until then the same work may add a record behind it.
    pub(super) fn changed(&self, place: i64) {
        let mut state = self.0.lock();
        if !state.is_own {
            state.version = None;
            state.last = state.last.max(place);
        }
    }

    /// How many records are in memory.
    #[cfg(test)]
    pub(super) fn recent(&self) -> usize {
        self.0.lock().recent.len()
    }

    /// Whether the index is that of the file in this state, whose last record is in this place.
    pub(super) fn is_of(&self, version: i64, last: i64) -> bool {
        let state = self.0.lock();
        state.version == Some(version) && last <= state.last
    }

    /// There is a store, so the index is read before the next write, if it was not read yet.
    pub(super) fn begin_use(&self) {
        self.0.lock().is_in_use = true;
    }

    pub(super) fn is_in_use(&self) -> bool {
        self.0.lock().is_in_use
    }

    /// Whether the transaction has to end for the index to be read.
    pub(super) fn is_to_be_read(&self) -> bool {
        let state = self.0.lock();
        state.is_in_use && state.version.is_none()
    }

    /// Replaces the index by what was read from the file in this state.
    pub(super) fn replace(
        &self,
        recent: BTreeSet<Entry>,
        older: OlderIds,
        last: i64,
        version: i64,
    ) {
        *self.0.lock() = State {
            recent,
            older,
            last,
            durable: last,
            round: None,
            open: Open {
                is_loaded: true,
                ..Open::default()
            },
            version: Some(version),
            is_in_use: true,
            is_own: false,
        };
    }
}

impl State {
    /// Whether the index is that of the file as readers see it.
    fn is_durable(&self) -> bool {
        self.version.is_some() && !self.open.is_loaded
    }

    fn candidates(&self, id: &RecordId, up_to: i64) -> Candidates {
        let from = Entry::new(id, i64::MIN);
        let recent = self.recent.range(from..=Entry::new(id, up_to));
        Candidates {
            recent: recent.rev().map(|entry| entry.place).collect(),
            may_be_older: self.older.may_have(from.start),
        }
    }

    fn undo_to(&mut self, mark: Mark) {
        for entry in self.open.removed.drain(mark.removed..) {
            self.recent.insert(entry);
        }
        // Also those that were added and removed, whose place is given again.
        for entry in self.open.added.drain(mark.added..).rev() {
            self.recent.remove(&entry);
            self.last = entry.place - 1;
        }
    }
}

impl Open {
    fn reuse(&mut self, mut done: Self) {
        done.added.clear();
        done.removed.clear();
        self.added = done.added;
        self.removed = done.removed;
    }
}

impl Candidates {
    pub(super) fn are_none(&self) -> bool {
        self.recent.is_empty() && !self.may_be_older
    }
}
