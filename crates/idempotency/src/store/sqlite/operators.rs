//! Listing and resolving records for operators, as statements like those of [`records`](super::records).

use rusqlite::{Connection, Error, params};

use super::{
    ends::release_as,
    millis::Millis,
    records::{complete_as, find},
    room::{Changes, Counted},
    row::Stored,
    statements::{ERASE, LIST, REPLACE},
    timeline::Now,
};
use crate::{
    record::{Phase, RecordId, Token},
    store::{IfOwner, ListRequest, Listed, Resolution, SPENT_FOR, StoreError},
};

/// A part of a list.
pub(super) struct Page {
    pub(super) listed: Vec<Listed>,
    /// The last record that was read, where the list continues.
    pub(super) goes_on_after: Option<RecordId>,
}

/// How many records are read in one piece of work. Replays may wait for it.
const LISTED_AT_ONCE: u32 = 128;

/// The matching records among the next few.
pub(super) fn list(
    connection: &Connection,
    request: &ListRequest,
    now: &Now,
) -> Result<Page, Error> {
    let mut page = Page {
        listed: Vec::new(),
        goes_on_after: None,
    };
    // No id is as small as the empty blob, so that one stands for the start.
    let after = request.after.as_ref();
    let after = after.map_or(&[][..], |id| id.as_bytes());
    let mut statement = connection.prepare_cached(LIST)?;
    let mut found = statement.query(params![after, Millis::at(now.judged), LISTED_AT_ONCE])?;
    let mut seen = 0;
    while page.listed.len() < request.limit
        && let Some(row) = found.next()?
    {
        seen += 1;
        let id = RecordId::from_bytes(row.get(0)?);
        page.goes_on_after = Some(id);
        match Stored::read(row) {
            Ok(stored) => {
                let record = stored.into_record(now);
                if request.matches(&record, now.dates) {
                    page.listed.push(record.into());
                }
            }
            Err(error) => {
                let listed = Listed::unreadable(id, StoreError::unreadable(error));
                page.listed.push(listed);
            }
        }
    }
    if seen < LISTED_AT_ONCE {
        page.goes_on_after = None;
    }
    Ok(page)
}

/// Ends a hold, or changes the outcome of a completed run, if the record is still the one that the operator has seen.
pub(super) fn resolve(
    connection: &Connection,
    id: &RecordId,
    seen: &Token,
    resolution: &Resolution,
    now: &Now,
    changes: &mut Changes,
) -> Result<IfOwner<()>, Error> {
    // A withdrawn take-over is a hold too: the previous run is as lost as before.
    let found = find(connection, id)?.filter(|found| !found.is_expired(now) && found.is_by(seen));
    let Some(found) = found else {
        return Ok(IfOwner::NotOwner);
    };
    let is_for_this = match resolution {
        Resolution::Release | Resolution::Complete { .. } => found.is_in_flight(),
        Resolution::Replace { .. } | Resolution::Erase { .. } | Resolution::Forget => {
            matches!(found.record.phase, Phase::Completed { .. })
        }
    };
    if !is_for_this {
        return Ok(IfOwner::NotOwner);
    }
    match resolution {
        // The mark stays: a claim or a completion of the run may be on its way yet.
        Resolution::Release | Resolution::Forget => {
            let expires_at = Millis::after(now.dates, SPENT_FOR);
            release_as(connection, &found, seen, expires_at, now, changes)?;
        }
        // A new token: the owner that was given up can complete nothing any more, not even "again".
        Resolution::Complete { outcome, ttl } => {
            let expires_at = Millis::after(now.dates, *ttl);
            complete_as(connection, id, &Token::random(), expires_at, outcome, now)?;
            changes.replaced(Counted::of(&found), outcome.len());
        }
        Resolution::Replace { outcome } => {
            connection
                .prepare_cached(REPLACE)?
                .execute(params![id.as_bytes(), outcome.as_ref()])?;
            changes.replaced(Counted::of(&found), outcome.len());
        }
        Resolution::Erase { outcome } => {
            connection
                .prepare_cached(ERASE)?
                .execute(params![id.as_bytes(), outcome.as_ref()])?;
            changes.replaced(Counted::of(&found), outcome.len());
        }
    }
    Ok(IfOwner::Done(()))
}
