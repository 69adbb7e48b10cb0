//! How the records in the file are found by their ids: the index in memory and its table, with the rows.

use std::collections::BTreeSet;

use rusqlite::{Connection, Error, ffi, params};

use super::{
    older::OlderIds,
    places::{Candidates, Due, Entry, Moved, Places, ROUND, Start, following},
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
    /// One of them has no record. To a reader this happens when a record is added, moved or removed; to the thread that
    /// writes, when the file has lost it.
    Unclear,
}

const OLDER: &str = "select place from idempotency_places where start = ?1 order by place desc";

const DATA_VERSION: &str = "pragma data_version";

/// Up to which place the table has all records. The row is among the places, so that whoever empties the table has the
/// index made anew.
const COMPLETE_UP_TO: &str = "select max(place) from idempotency_places where start = x''";

const FORGET_COMPLETE: &str = "delete from idempotency_places where start = x''";

const SET_COMPLETE: &str = "insert into idempotency_places (start, place) values (x'', ?1)";

const OLDER_STARTS: &str = "select start from idempotency_places where start > x''";

const OLDER_STARTS_FROM: &str = "
    select start from idempotency_places where start >= ?1 and start > x'' order by start limit ?2
";

/// An entry that was moved in a round that did not end is there already.
const MOVE: &str = "insert or ignore into idempotency_places (start, place) values (?1, ?2)";

const HAS_RECORDS: &str = "select exists (select 1 from idempotency_records)";

const FIRST: &str = "select min(place) from idempotency_records";

const LAST: &str = "
    select max(
        coalesce((select max(place) from idempotency_records), 0),
        coalesce((select place from idempotency_places where start = x''), 0)
    )
";

const RECENT: &str = "select place, id from idempotency_records where place > ?1 order by place";

impl File<'_> {
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
    let start = Entry::new(id, 0).start;
    let mut is_clear = true;
    let mut look_at = |place: i64| -> Result<Option<Box<Stored>>, Error> {
        let mut find = connection.prepare_cached(FIND)?;
        let mut rows = find.query([place])?;
        let Some(row) = rows.next()? else {
            is_clear = false;
            return Ok(None);
        };
        let found: Vec<u8> = row.get(0)?;
        if found == id.as_bytes() {
            return Stored::read(row).map(|stored| Some(Box::new(stored)));
        }
        // Another id may begin like this one.
        is_clear &= found.len() == id.as_bytes().len() && found.starts_with(&start);
        Ok(None)
    };
    for place in &candidates.recent {
        if let Some(found) = look_at(*place)? {
            return Ok(Seen::Found(found));
        }
    }
    if candidates.may_be_older {
        let mut older = connection.prepare_cached(OLDER)?;
        let mut places = older.query([start])?;
        while let Some(row) = places.next()? {
            if let Some(found) = look_at(row.get(0)?)? {
                return Ok(Seen::Found(found));
            }
        }
    }
    Ok(if is_clear {
        Seen::Nothing
    } else {
        Seen::Unclear
    })
}

/// Reads the index from the file, if it is not in use yet.
pub(super) fn begin_use(connection: &Connection, places: &Places) -> Result<(), Error> {
    if places.is_in_use() {
        return Ok(());
    }
    load(connection, places, data_version(connection)?)
}

pub(super) fn has_records(connection: &Connection) -> Result<bool, Error> {
    connection.query_row(HAS_RECORDS, (), |row| row.get(0))
}

/// Reads the index from the file again, if another program has written to the file since, or it is not known what the
/// file has.
pub(super) fn refresh(connection: &Connection, places: &Places) -> Result<(), Error> {
    if !places.is_in_use() {
        return Ok(());
    }
    let version = data_version(connection)?;
    if places.is_of(version) {
        return Ok(());
    }
    load(connection, places, version)
}

/// A number that changes when another connection has written to the file.
fn data_version(connection: &Connection) -> Result<i64, Error> {
    let mut version = connection.prepare_cached(DATA_VERSION)?;
    version.query_row((), |row| row.get(0))
}

fn load(connection: &Connection, places: &Places, version: i64) -> Result<(), Error> {
    let number =
        |statement| connection.query_row(statement, (), |row| row.get::<_, Option<i64>>(0));
    let complete_up_to = number(COMPLETE_UP_TO)?.unwrap_or_default();
    let last = number(LAST)?.unwrap_or_default();
    let first = number(FIRST)?.unwrap_or_default();
    let about = usize::try_from(last.saturating_sub(first)).unwrap_or_default();
    let mut older = OlderIds::for_about(about);
    let mut starts = connection.prepare(OLDER_STARTS)?;
    let mut rows = starts.query(())?;
    while let Some(row) = rows.next()? {
        older.add(row.get(0)?);
    }
    let mut recent = Vec::new();
    let mut records = connection.prepare(RECENT)?;
    let mut rows = records.query([complete_up_to])?;
    while let Some(row) = rows.next()? {
        // Malformed ids are of no record; `list` reports them.
        let Ok(id) = row.get(1) else { continue };
        recent.push(Entry::new(&RecordId::from_bytes(id), row.get(0)?));
        // Only if the table of older places was emptied, or the file comes from an earlier version.
        if recent.len() == 2 * ROUND {
            let up_to = recent[recent.len() - 1].place;
            recent.sort_unstable();
            for entry in recent.drain(..) {
                move_entry(connection, &entry)?;
                older.add(entry.start);
            }
            set_complete(connection, up_to)?;
        }
    }
    let recent: BTreeSet<Entry> = recent.into_iter().collect();
    places.replace(recent, older, last, version);
    Ok(())
}

/// Does a part of a round, if there is one.
pub(super) fn move_some(connection: &Connection, places: &Places) -> Result<(), Error> {
    let Some(due) = places.due() else {
        return Ok(());
    };
    let (passed, until) = passed(connection, &due)?;
    let entries = places.to_move(&due, &passed, until);
    for entry in &entries {
        move_entry(connection, entry)?;
    }
    let goes_on = match entries.last() {
        Some(last) if entries.len() == due.limit => Some(last.start),
        _ => until.and_then(following),
    };
    if goes_on.is_none() {
        set_complete(connection, due.up_to)?;
    }
    places.moved(Moved { entries, goes_on });
    Ok(())
}

/// How many older ids a round may pass for each record that it may move.
const PASSED_FOR_EACH: usize = 64;

/// The next older ids, and the last of them if there are more.
fn passed(connection: &Connection, due: &Due) -> Result<(Vec<Start>, Option<Start>), Error> {
    let limit = PASSED_FOR_EACH * due.limit;
    let mut starts = connection.prepare_cached(OLDER_STARTS_FROM)?;
    let rows = i64::try_from(limit).unwrap_or(i64::MAX);
    let passed = starts.query_map(params![due.from, rows], |row| row.get(0))?;
    let passed: Vec<Start> = passed.collect::<Result<_, _>>()?;
    let until = passed.last().filter(|_| passed.len() == limit).copied();
    Ok((passed, until))
}

fn move_entry(connection: &Connection, entry: &Entry) -> Result<(), Error> {
    let mut insert = connection.prepare_cached(MOVE)?;
    insert.execute(params![entry.start, entry.place]).map(drop)
}

fn set_complete(connection: &Connection, up_to: i64) -> Result<(), Error> {
    connection.prepare_cached(FORGET_COMPLETE)?.execute(())?;
    connection
        .prepare_cached(SET_COMPLETE)?
        .execute([up_to])
        .map(drop)
}

/// The error of a file that does not have a record where the index says.
fn lost() -> Error {
    let text = "a record is not in the SQLite file where the store has written it; its index is read from the file again";
    Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), Some(text.to_owned()))
}
