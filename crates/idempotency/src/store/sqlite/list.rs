//! Listing records for operators, in the order of their ids.

use rusqlite::{Connection, Error, params};

use super::{
    millis::Millis,
    places::{Entry, Places, Start, following},
    row::Stored,
    statements::FIND,
    timeline::Now,
};
use crate::{
    record::RecordId,
    store::{ListRequest, Listed, StoreError},
};

/// A part of a list.
pub(super) struct Page {
    pub(super) listed: Vec<Listed>,
    /// Where the list goes on, if it does.
    pub(super) goes_on: Option<Start>,
}

/// The places in which a list goes on, as far as they are in memory.
pub(super) struct Recent {
    from: Start,
    entries: Vec<Entry>,
}

/// How many places are read in one piece of work. Replays may wait for it.
const LISTED_AT_ONCE: usize = 128;

const OLDER_FROM: &str = "
    select start, place from idempotency_places
    where start >= ?1 and start > x''
    order by start, place
    limit ?2
";

const OLDER_MORE: &str =
    "select start, place from idempotency_places where start = ?1 and place > ?2";

impl Recent {
    /// Where the list of this request begins.
    pub(super) fn begin(request: &ListRequest) -> Start {
        let start = |id: RecordId| Entry::new(&id, 0).start;
        request.after.map_or(Start::default(), start)
    }

    /// These are asked before the file is read. A record that is moved meanwhile is then among the older places too.
    /// `None`: the index is being read.
    pub(super) fn from(places: &Places, from: Start) -> Option<Self> {
        let entries = places.durable_from(from, LISTED_AT_ONCE)?;
        Some(Self { from, entries })
    }
}

/// The matching records among the next few.
pub(super) fn list(
    connection: &Connection,
    request: &ListRequest,
    recent: Recent,
    now: &Now,
) -> Result<Page, Error> {
    // All reads see one moment. The thread that reads ends this.
    connection.execute_batch("begin")?;
    let (entries, goes_on) = next(connection, recent)?;
    let mut records = Vec::new();
    let mut find = connection.prepare_cached(FIND)?;
    for entry in entries {
        let mut rows = find.query([entry.place])?;
        // A row that is gone, or has another id by now, is of no record.
        if let Some(row) = rows.next()?
            && let Ok(id) = row.get(0).map(RecordId::from_bytes)
            && Entry::new(&id, entry.place) == entry
            && request.after.is_none_or(|after| id > after)
            && !matches!(row.get::<_, Millis>(4), Ok(expires_at) if expires_at.time() <= now.judged)
        {
            records.push((id, Stored::read(row)));
        }
    }
    // Ids that begin alike are in the order of their places.
    records.sort_by_key(|(id, _)| *id);
    let mut listed = Vec::new();
    for (id, read) in records {
        match read {
            Ok(stored) if stored.is_free() => {}
            Ok(stored) => {
                let record = stored.into_record(now);
                if request.matches(&record, now.dates) {
                    listed.push(record.into());
                }
            }
            Err(error) => listed.push(Listed::unreadable(id, StoreError::unreadable(error))),
        }
    }
    listed.truncate(request.limit);
    Ok(Page { listed, goes_on })
}

/// The next places in the order of ids, and where those go on that are left.
fn next(connection: &Connection, recent: Recent) -> Result<(Vec<Entry>, Option<Start>), Error> {
    let Recent { from, entries } = recent;
    let limit = i64::try_from(LISTED_AT_ONCE).unwrap_or(i64::MAX);
    let mut older = read(connection, OLDER_FROM, from, limit)?;
    let older_end = end(&older);
    // Ids that begin alike are listed together.
    if let Some(last) = older.last().copied().filter(|_| older_end.is_some()) {
        older.extend(read(connection, OLDER_MORE, last.start, last.place)?);
    }
    let end = [end(&entries), older_end].into_iter().flatten().min();
    let mut next: Vec<_> = entries.into_iter().chain(older).collect();
    next.retain(|entry| end.is_none_or(|end| entry.start <= end));
    next.sort_unstable();
    next.dedup();
    Ok((next, end.and_then(following)))
}

/// Up to where these are all places, if there may be others.
fn end(part: &[Entry]) -> Option<Start> {
    let last = part.last().map(|entry| entry.start);
    last.filter(|_| part.len() >= LISTED_AT_ONCE)
}

fn read(
    connection: &Connection,
    statement: &str,
    start: Start,
    number: i64,
) -> Result<Vec<Entry>, Error> {
    let mut statement = connection.prepare_cached(statement)?;
    let entries = statement.query_map(params![start, number], |row| {
        let (start, place) = (row.get(0)?, row.get(1)?);
        Ok(Entry { start, place })
    })?;
    entries.collect()
}
