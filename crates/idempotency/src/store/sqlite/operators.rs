//! Resolving records for operators, as statements like those of [`records`](super::records).

use rusqlite::{Error, params};

use super::{
    ends::release_as,
    index::File,
    millis::Millis,
    records::complete_as,
    room::{Changes, Counted},
    statements::{ERASE, REPLACE},
    timeline::Now,
};
use crate::{
    record::{Phase, RecordId, Token},
    store::{IfOwner, Resolution, SPENT_FOR},
};

/// Ends a hold, or changes the outcome of a completed run, if the record is still the one that the operator has seen.
pub(super) fn resolve(
    file: File<'_>,
    id: &RecordId,
    seen: &Token,
    resolution: &Resolution,
    now: &Now,
    changes: &mut Changes,
) -> Result<IfOwner<()>, Error> {
    // A withdrawn take-over is a hold too: the previous run is as lost as before.
    let found = file
        .find(id)?
        .filter(|found| !found.is_expired(now) && found.is_by(seen));
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
            release_as(file, &found, seen, expires_at, now, changes)?;
        }
        // A new token: the owner that was given up can complete nothing any more, not even "again".
        Resolution::Complete { outcome, ttl } => {
            let expires_at = Millis::after(now.dates, *ttl);
            complete_as(
                file,
                id,
                found.place,
                &Token::random(),
                expires_at,
                outcome,
                now,
            )?;
            changes.replaced(Counted::of(&found), outcome.len());
        }
        Resolution::Replace { outcome } => {
            file.write(
                REPLACE,
                params![found.place, id.as_bytes(), outcome.as_ref()],
            )?;
            changes.replaced(Counted::of(&found), outcome.len());
        }
        Resolution::Erase { outcome } => {
            file.write(ERASE, params![found.place, id.as_bytes(), outcome.as_ref()])?;
            changes.replaced(Counted::of(&found), outcome.len());
        }
    }
    Ok(IfOwner::Done(()))
}
