//! How the records in the file are found by their ids: the index in memory and its table, with the rows.

use rusqlite::{Connection, Error, ToSql, ffi, params};

use super::{
    places::{Candidates, Due, Entry, Moved, Places, Start, following},
    row::Stored,
    statements::FIND,
};
use crate::record::RecordId;

/// The file as the thread that writes has it, within a transaction.
#[derive(Clone, Copy)]
pub(super) struct File<'a> {
    pub(super) connection: &'a Connection,
    pub(super) places: &'a Places,
}

/// What is in the places where a record may be.
pub(super) enum Seen {
    Found(Box<Stored>),
    /// There is no such record.
    Nothing,
    /// A place of which the index in memory knows has another record, or none. To a reader this happens when a record is
    /// removed; to the thread that writes, when the file has lost it.
    Unclear,
}

/// What is in one place.
enum At {
    Found(Box<Stored>),
    /// The record of an id that begins alike.
    Alike,
    Other,
}

const OLDER: &str = "select place from idempotency_places where start = ?1 order by place desc";

const FORGET_COMPLETE: &str = "delete from idempotency_places where start = x''";

const SET_COMPLETE: &str = "insert into idempotency_places (start, place) values (x'', ?1)";

/// The row without a start is before the first of these. To say so too would have SQLite read from the first row on.
const OLDER_STARTS: &str = "
    select start from idempotency_places where start >= ?1 and start <= ?2 order by start limit ?3
";

const MOVE: &str = "
    insert or ignore into idempotency_places (start, place)
    select ?1, place from idempotency_records where place = ?2 and substr(id, 1, 8) = ?1
";

const IS_MOVED: &str =
    "select exists (select 1 from idempotency_places where start = ?1 and place = ?2)";

const HAS_RECORDS: &str = "select exists (select 1 from idempotency_records)";

impl File<'_> {
    /// Writes the row of an id. Its place and the id are the first two of the values.
    ///
    /// A row that is gone must not make a record that is nowhere, and a place that is taken has a record that the index
    /// does not know: both are errors, and have the index read again. A trigger of the application may refuse a row for
    /// other reasons.
    pub(super) fn write(self, statement: &str, values: &[&dyn ToSql]) -> Result<(), Error> {
        let mut statement = self.connection.prepare_cached(statement)?;
        let written = self.places.own(|| statement.execute(values));
        let is_other = match &written {
            Ok(rows) => *rows != 1,
            Err(error) => error
                .sqlite_error()
                .is_some_and(|error| error.extended_code == ffi::SQLITE_CONSTRAINT_PRIMARYKEY),
        };
        if is_other {
            self.places.distrust();
            return Err(written.err().unwrap_or_else(lost));
        }
        written.map(drop)
    }

    /// The record of this id. A place that does not have what the index says is an error.
    pub(super) fn find(&self, id: &RecordId) -> Result<Option<Stored>, Error> {
        match see(self.connection, id, &self.places.all(id))? {
            Seen::Found(stored) => Ok(Some(*stored)),
            Seen::Nothing => Ok(None),
            Seen::Unclear => {
                self.places.distrust();
                Err(lost())
            }
        }
    }
}

/// The record of this id, which may be in these places.
pub(super) fn see(
    connection: &Connection,
    id: &RecordId,
    candidates: &Candidates,
) -> Result<Seen, Error> {
    let mut is_clear = true;
    for place in &candidates.recent {
        match look_at(connection, *place, id)? {
            At::Found(stored) => return Ok(Seen::Found(stored)),
            At::Alike => {}
            At::Other => is_clear = false,
        }
    }
    if candidates.may_be_older {
        let mut older = connection.prepare_cached(OLDER)?;
        let mut places = older.query([Entry::new(id, 0).start])?;
        // The table and the rows are of one moment here, so a place without its row is only left over.
        while let Some(row) = places.next()? {
            if let At::Found(stored) = look_at(connection, row.get(0)?, id)? {
                return Ok(Seen::Found(stored));
            }
        }
    }
    Ok(if is_clear {
        Seen::Nothing
    } else {
        Seen::Unclear
    })
}

fn look_at(connection: &Connection, place: i64, id: &RecordId) -> Result<At, Error> {
    let mut find = connection.prepare_cached(FIND)?;
    let mut rows = find.query([place])?;
    let Some(row) = rows.next()? else {
        return Ok(At::Other);
    };
    let found: Vec<u8> = row.get(0)?;
    if found == id.as_bytes() {
        return Stored::read(row).map(|stored| At::Found(Box::new(stored)));
    }
    let is_alike =
        found.len() == id.as_bytes().len() && found.starts_with(&Entry::new(id, 0).start);
    Ok(if is_alike { At::Alike } else { At::Other })
}

pub(super) fn has_records(connection: &Connection) -> Result<bool, Error> {
    connection.query_row(HAS_RECORDS, (), |row| row.get(0))
}

/// Does a part of a round, if there is one.
pub(super) fn move_some(connection: &Connection, places: &Places) -> Result<(), Error> {
    let Some(due) = places.due() else {
        return Ok(());
    };
    let mut entries = places.to_move(&due);
    let last = entries.last().filter(|_| entries.len() == due.limit);
    let passed = passed(connection, &due, last.map(|last| last.start))?;
    entries.retain(|entry| passed.until.is_none_or(|until| entry.start <= until));
    places.pass(&passed.starts);
    for entry in &entries {
        move_entry(connection, places, entry)?;
    }
    let goes_on = match entries.last() {
        Some(last) if entries.len() == due.limit => Some(last.start),
        _ => passed.until.and_then(following),
    };
    if goes_on.is_none() {
        set_complete(connection, due.up_to)?;
    }
    places.moved(Moved { entries, goes_on });
    Ok(())
}

/// How many older ids a round may pass for each record that it may move.
const PASSED_FOR_EACH: usize = if cfg!(test) { 1 } else { 64 };

/// The older ids that a part of a round comes by.
struct Passed {
    starts: Vec<Start>,
    /// The last of them, if the next part has to go on from there.
    until: Option<Start>,
}

/// Those up to the last record that is to be moved, if there is one. To read more in each part would take longer than
/// the moves.
fn passed(connection: &Connection, due: &Due, last: Option<Start>) -> Result<Passed, Error> {
    let limit = PASSED_FOR_EACH * due.limit;
    let mut starts = connection.prepare_cached(OLDER_STARTS)?;
    let rows = i64::try_from(limit).unwrap_or(i64::MAX);
    let last = last.unwrap_or([u8::MAX; 8]);
    let starts = starts.query_map(params![due.from, last, rows], |row| row.get(0))?;
    let starts: Vec<Start> = starts.collect::<Result<_, _>>()?;
    let until = starts.last().filter(|_| starts.len() == limit).copied();
    Ok(Passed { starts, until })
}

fn move_entry(connection: &Connection, places: &Places, entry: &Entry) -> Result<(), Error> {
    let place = params![entry.start, entry.place];
    let is_added = connection.prepare_cached(MOVE)?.execute(place)? == 1;
    if !is_added {
        let mut is_moved = connection.prepare_cached(IS_MOVED)?;
        if !is_moved.query_row(place, |row| row.get(0))? {
            places.distrust();
            tracing::warn!("{LOST}");
        }
    }
    Ok(())
}

pub(super) fn set_complete(connection: &Connection, up_to: i64) -> Result<(), Error> {
    connection.prepare_cached(FORGET_COMPLETE)?.execute(())?;
    connection
        .prepare_cached(SET_COMPLETE)?
        .execute([up_to])
        .map(drop)
}

const LOST: &str = "a record is not in the SQLite file where the store has written it; its index is read from the file again";

/// The error of a file that does not have a record where the index says.
fn lost() -> Error {
    Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), Some(LOST.to_owned()))
}
