//! Reading the index from the file: at the start, and whenever the file may have something else than the index says.

use std::{
    collections::BTreeSet,
    thread::{self, Scope},
};

use rusqlite::{Connection, Error, ffi, hooks::Action, params};

use super::{
    file::LockedFile,
    guard,
    index::set_complete,
    older::OlderIds,
    places::{Entry, Places, ROUND, Start},
    upgrade,
};
use crate::record::RecordId;

const DATA_VERSION: &str = "pragma data_version";

/// Up to which place the table has all records. The row is among the places, so that a program that empties the table has the
/// index made anew.
const COMPLETE_UP_TO: &str = "select max(place) from idempotency_places where start = x''";

const OLDER_ENTRIES: &str =
    "select start, place from idempotency_places where start > ?1 and start <= ?2";

/// From an index that has the places too, so that no record is read. A malformed id, which the table refuses, would
/// count here and not among the places, so that each start writes those again.
const RECORDS_UP_TO: &str = "
    select count(*), coalesce(sum(place & 4294967295), 0)
    from idempotency_records indexed by idempotency_records_by_expiry
    where +place <= ?1
";

/// No page is read twice, so few of them stay in memory.
const READ_ONCE: &str = "pragma cache_size = -1024";

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
pub(super) fn refresh(
    connection: &Connection,
    file: &LockedFile,
    places: &Places,
) -> Result<(), Error> {
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
    load(connection, file, places, version)
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

/// What a part of the table of older places has.
struct Older {
    ids: OlderIds,
    tally: Tally,
}

fn load(
    connection: &Connection,
    file: &LockedFile,
    places: &Places,
    version: i64,
) -> Result<(), Error> {
    if upgrade::is_unfinished(connection)? {
        return Err(unfinished());
    }
    let (mut complete_up_to, mut older) = load_older(connection, file)?;
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

/// The middle of all starts. Ids are digests, so either half of the starts has half of the ids.
const MIDDLE: Start = (u64::MAX / 2).to_be_bytes();

/// What the table of older places has. If it does not have the places of the records, such as after a recovery of the
/// file, it is emptied.
///
/// That takes seconds for millions of keys, so several threads read at the same time. All see one state of the file:
/// this connection has the right to write, and has not written yet.
fn load_older(
    connection: &Connection,
    file: &LockedFile,
) -> Result<(Option<i64>, OlderIds), Error> {
    let last = number(connection, LAST)?.unwrap_or_default();
    let first = number(connection, FIRST)?.unwrap_or_default();
    let about = usize::try_from(last.saturating_sub(first)).unwrap_or_default();
    let complete_up_to = number(connection, COMPLETE_UP_TO)?;
    let second_half = |connection: &_| {
        let part: [&[u8]; 2] = [&MIDDLE, &[u8::MAX; 8]];
        read_part(connection, part, complete_up_to, OlderIds::for_about(about))
    };
    let tally = |connection: &_| tally_up_to(connection, complete_up_to);
    let others = (about > ROUND).then_some(file);
    let (mut older, second_half, expected) = thread::scope(|scope| {
        let second_half = read_beside(scope, others, &second_half);
        let expected = read_beside(scope, others, &tally);
        let part: [&[u8]; 2] = [&[], &MIDDLE];
        let older = read_part(connection, part, complete_up_to, OlderIds::for_about(about))?;
        Ok::<_, Error>((older, second_half(connection)?, expected(connection)?))
    })?;
    // The other connections have opened the file by its name.
    if !file.is_in_place() {
        return Err(guard::moved());
    }
    older.ids.add_all(&second_half.ids);
    let found = Tally {
        places: older.tally.places + second_half.tally.places,
        sum: older.tally.sum.wrapping_add(second_half.tally.sum),
    };
    if found == expected {
        return Ok((complete_up_to, older.ids));
    }
    tracing::warn!(
        places = found.places,
        records = expected.places,
        "the table idempotency_places in a SQLite file does not have the places of the records, and is written again"
    );
    connection.execute(EMPTY, ())?;
    Ok((None, OlderIds::for_about(about)))
}

/// Begins to read on a thread and a connection of its own, if it is worth that. The result ends it, on this connection if
/// there was no other.
fn read_beside<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    file: Option<&'scope LockedFile>,
    read: &'scope (impl Fn(&Connection) -> Result<T, Error> + Sync),
) -> impl FnOnce(&Connection) -> Result<T, Error> {
    let begin = |file: &'scope LockedFile| {
        let beside = move || {
            let connection = file.reader().ok()?;
            connection.execute_batch(READ_ONCE).ok()?;
            Some(read(&connection))
        };
        let thread = thread::Builder::new().name("sqlite-loader".into());
        thread.spawn_scoped(scope, beside).ok()
    };
    let begun = file.and_then(begin);
    move |connection| {
        // What another connection cannot read, this one may.
        let done = begun.and_then(|thread| thread.join().ok().flatten());
        match done {
            Some(Ok(done)) => Ok(done),
            Some(Err(_)) | None => read(connection),
        }
    }
}

/// Reads the places of the starts behind the first of these up to the second, and adds up those that have to be there.
fn read_part(
    connection: &Connection,
    part: [&[u8]; 2],
    complete_up_to: Option<i64>,
    mut ids: OlderIds,
) -> Result<Older, Error> {
    let mut tally = Tally::default();
    let mut entries = connection.prepare(OLDER_ENTRIES)?;
    let mut rows = entries.query(part)?;
    while let Some(row) = rows.next()? {
        ids.add(row.get(0)?);
        let place: i64 = row.get(1)?;
        if complete_up_to.is_some_and(|up_to| place <= up_to) {
            tally.places += 1;
            tally.sum = tally.sum.wrapping_add(place & 0xffff_ffff);
        }
    }
    Ok(Older { ids, tally })
}

/// What the records up to this place add up to.
fn tally_up_to(connection: &Connection, complete_up_to: Option<i64>) -> Result<Tally, Error> {
    let Some(up_to) = complete_up_to else {
        return Ok(Tally::default());
    };
    connection.query_row(RECORDS_UP_TO, [up_to], |row| {
        let (places, sum) = (row.get(0)?, row.get(1)?);
        Ok(Tally { places, sum })
    })
}
