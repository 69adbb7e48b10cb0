//! Reading the index from the file: at the start, and whenever the file may have something else than the index says.

use std::collections::BTreeSet;

use rusqlite::{Connection, Error, ffi, hooks::Action, params};

use super::{
    index::set_complete,
    older::OlderIds,
    places::{Entry, Places, ROUND},
    upgrade,
};
use crate::record::RecordId;

const DATA_VERSION: &str = "pragma data_version";

/// Up to which place the table has all records. The row is among the places, so that a program that empties the table has the
/// index made anew.
const COMPLETE_UP_TO: &str = "select max(place) from idempotency_places where start = x''";

const OLDER_ENTRIES: &str = "select start, place from idempotency_places where start > x''";

/// From an index that has the places too, so that no record is read. A malformed id, which the table refuses, would
/// count here and not among the places, so that each start writes those again.
const RECORDS_UP_TO: &str = "
    select count(*), coalesce(sum(place & 4294967295), 0)
    from idempotency_records indexed by idempotency_records_by_expiry
    where +place <= ?1
";

const FIRST: &str = "select min(place) from idempotency_records";

const LAST: &str = "select max(place) from idempotency_records";

const RECENT: &str = "
    select place, id from idempotency_records
    where place > coalesce(?1, -9223372036854775808)
    order by place
";

/// Of a row that was just read. An entry that was moved in a round that did not end is there already.
const ADD: &str = "insert or ignore into idempotency_places (start, place) values (?1, ?2)";

const EMPTY: &str = "delete from idempotency_places";

/// Notices rows that the application's own work adds or changes: `pragma data_version` says nothing of this connection.
/// A row that it removes is found to be missing.
///
/// Set each time, because that work may have set its own.
pub(super) fn watch(connection: &Connection, places: &Places) -> Result<(), Error> {
    let places = places.clone();
    connection.update_hook(Some(move |action, _: &str, table: &str, place| {
        if table == "idempotency_records" && action != Action::SQLITE_DELETE {
            places.changed(place);
        }
    }))
}

/// Reads the index from the file, if it was not read yet, if another program has written to the file since, or if it is
/// not known what the file has.
///
/// No savepoint is open: for one, SQLite would keep in memory what the table had before.
pub(super) fn refresh(connection: &Connection, places: &Places) -> Result<(), Error> {
    if !places.is_in_use() {
        return Ok(());
    }
    let state = state(connection);
    if let Ok((version, last)) = state
        && places.is_of(version, last)
    {
        return Ok(());
    }
    // Readers ask this thread from now on, even if it cannot read the file.
    places.distrust();
    let (version, _) = state?;
    load(connection, places, version)
}

/// What tells whether the file is as it was, and its last place: work that has set its own hook may have added a row.
fn state(connection: &Connection) -> Result<(i64, i64), Error> {
    let last = number(connection, LAST)?;
    Ok((data_version(connection)?, last.unwrap_or_default()))
}

/// A number that changes when another connection has written to the file.
fn data_version(connection: &Connection) -> Result<i64, Error> {
    let mut version = connection.prepare_cached(DATA_VERSION)?;
    version.query_row((), |row| row.get(0))
}

fn number(connection: &Connection, statement: &str) -> Result<Option<i64>, Error> {
    connection
        .prepare_cached(statement)?
        .query_row((), |row| row.get(0))
}

/// How many places there are, and their sum.
#[derive(Default, PartialEq)]
struct Tally {
    places: i64,
    sum: i64,
}

fn load(connection: &Connection, places: &Places, version: i64) -> Result<(), Error> {
    if upgrade::is_unfinished(connection)? {
        return Err(unfinished());
    }
    let (mut complete_up_to, mut older) = load_older(connection)?;
    let mut recent = Vec::new();
    let mut records = connection.prepare(RECENT)?;
    let mut rows = records.query([complete_up_to])?;
    while let Some(row) = rows.next()? {
        // Malformed ids are of no record.
        let Ok(id) = row.get(1) else { continue };
        recent.push(Entry::new(&RecordId::from_bytes(id), row.get(0)?));
        // Only if the table of older places was emptied.
        if recent.len() == 2 * ROUND {
            let up_to = recent[recent.len() - 1].place;
            recent.sort_unstable();
            let mut add = connection.prepare_cached(ADD)?;
            for entry in recent.drain(..) {
                add.execute(params![entry.start, entry.place])?;
                older.add(entry.start);
            }
            complete_up_to = Some(up_to);
            set_complete(connection, up_to)?;
        }
    }
    let last = number(connection, LAST)?.max(complete_up_to);
    let recent: BTreeSet<Entry> = recent.into_iter().collect();
    places.replace(recent, older, last.unwrap_or_default().max(0), version);
    Ok(())
}

/// The error of a file that was put in the place of this one while it was open. Records are also in its old table.
fn unfinished() -> Error {
    let text = "an upgrade of the tables in the SQLite file has not ended; restart the service, which goes on with it";
    Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_SCHEMA), Some(text.to_owned()))
}

/// What the table of older places has. If it does not have the places of the records, such as after a recovery of the
/// file, it is emptied.
fn load_older(connection: &Connection) -> Result<(Option<i64>, OlderIds), Error> {
    let last = number(connection, LAST)?.unwrap_or_default();
    let first = number(connection, FIRST)?.unwrap_or_default();
    let about = usize::try_from(last.saturating_sub(first)).unwrap_or_default();
    let mut older = OlderIds::for_about(about);
    let complete_up_to = number(connection, COMPLETE_UP_TO)?;
    let mut found = Tally::default();
    let mut entries = connection.prepare(OLDER_ENTRIES)?;
    let mut rows = entries.query(())?;
    while let Some(row) = rows.next()? {
        older.add(row.get(0)?);
        let place: i64 = row.get(1)?;
        if complete_up_to.is_some_and(|up_to| place <= up_to) {
            found.places += 1;
            found.sum = found.sum.wrapping_add(place & 0xffff_ffff);
        }
    }
    let Some(up_to) = complete_up_to else {
        return Ok((None, older));
    };
    let expected = connection.query_row(RECORDS_UP_TO, [up_to], |row| {
        let (places, sum) = (row.get(0)?, row.get(1)?);
        Ok(Tally { places, sum })
    })?;
    if found == expected {
        return Ok((complete_up_to, older));
    }
    tracing::warn!(
        places = found.places,
        records = expected.places,
        "the table idempotency_places in a SQLite file does not have the places of the records, and is written again"
    );
    connection.execute(EMPTY, ())?;
    Ok((None, OlderIds::for_about(about)))
}
