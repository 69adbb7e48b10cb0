//! The ends of a hold that leave no outcome, as statements like those of [`records`](super::records).

use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Error, params};

use super::{
    index::File,
    millis::Millis,
    new_row::NewRow,
    records::{checkpoint_progress, forgotten_at, own},
    room::{Changes, Counted},
    row::{PhaseTag, Stored},
    statements::{FREE, SPEND, WITHDRAW},
    timeline::Now,
};
use crate::{
    Fingerprint,
    record::{Phase, Token},
    store::{Hold, IfOwner},
};

/// Returns whether this ended a hold.
pub(super) fn withdraw(
    file: File<'_>,
    hold: &Hold,
    fingerprint: &Fingerprint,
    now: &Now,
    changes: &mut Changes,
) -> Result<bool, Error> {
    let forgotten_at = forgotten_at(hold, now);
    let found = file.find(&hold.id)?;
    let before = found.as_ref().and_then(Counted::of);
    let place = found.as_ref().map(|found| found.place);
    let Some(found) = found.filter(|found| !found.is_expired(now)) else {
        let row = NewRow {
            fingerprint,
            token: &hold.token,
            attempt: 0,
            expires_at: forgotten_at,
            phase: PhaseTag::Withdrawn,
            lease_until: Some(Millis::at(now.leases)),
            left: None,
            spent: None,
            scope: hold.scope,
            created_at: None,
            completed_at: None,
            labels: None,
        };
        row.put(file, &hold.id, place)?;
        changes.removed(before);
        return Ok(false);
    };
    if found.is_spent(&hold.token) {
        return Ok(false);
    }
    if found.is_free() {
        release_as(file, &found, &hold.token, forgotten_at, now, changes)?;
        return Ok(false);
    }
    let Phase::InFlight { progress, .. } = &found.record.phase else {
        return Ok(false);
    };
    let (is_own, attempt) = (found.is_by(&hold.token), found.record.attempt);
    if is_own && attempt == 1 && progress.is_empty() {
        release_as(file, &found, &hold.token, forgotten_at, now, changes)?;
        return Ok(true);
    }
    if is_own {
        suspend_as(file, found.place, hold, (attempt - 1).max(1), now)?;
        return Ok(true);
    }
    // The claim may yet arrive, perhaps when this run is lost or its key is free.
    let spent = found.spent.with(&hold.token);
    let values = params![found.place, hold.id.as_bytes(), spent.bytes()];
    file.write(SPEND, values)?;
    Ok(false)
}

pub(super) fn suspend(
    file: File<'_>,
    hold: &Hold,
    progress: &Bytes,
    now: &Now,
    changes: &mut Changes,
) -> Result<IfOwner<()>, Error> {
    let found = file
        .find(&hold.id)?
        .filter(|found| !found.is_expired(now) && found.is_by(&hold.token) && found.is_in_flight());
    match found {
        None => Ok(IfOwner::NotOwner),
        // The same owner repeats a call that was done but whose reply was lost.
        Some(found) if found.is_withdrawn => Ok(IfOwner::Done(())),
        Some(found) => {
            checkpoint_progress(file, &found, progress, changes)?;
            suspend_as(file, found.place, hold, found.record.attempt, now)?;
            Ok(IfOwner::Done(()))
        }
    }
}

pub(super) fn release(
    file: File<'_>,
    hold: &Hold,
    now: &Now,
    changes: &mut Changes,
) -> Result<IfOwner<()>, Error> {
    let own = own(file, &hold.id, &hold.token, now)?;
    let Some(found) = own.filter(Stored::is_in_flight) else {
        return Ok(IfOwner::NotOwner);
    };
    let expires_at = Millis::after(now.dates, hold.lease);
    release_as(file, &found, &hold.token, expires_at, now, changes)?;
    Ok(IfOwner::Done(()))
}

/// Frees the key. The record notes at least until then that this token is spent, and which others are.
pub(super) fn release_as(
    file: File<'_>,
    found: &Stored,
    token: &Token,
    expires_at: Millis,
    now: &Now,
    changes: &mut Changes,
) -> Result<(), Error> {
    let spent = if found.is_by(token) {
        found.spent.clone()
    } else {
        found.spent_tokens()
    };
    // Other spent tokens are remembered for as long as before.
    let expires_at = if spent.is_empty() {
        expires_at
    } else {
        let latest = found.record.expires_at.max(expires_at.time());
        Millis::after(latest, Duration::ZERO)
    };
    let values = params![
        found.place,
        found.record.id.as_bytes(),
        token.as_bytes(),
        expires_at,
        PhaseTag::Withdrawn,
        Millis::at(now.leases),
        spent.bytes(),
    ];
    file.write(FREE, values)?;
    changes.removed(Counted::of(found));
    Ok(())
}

/// Ends a hold so that the next claim takes over at once. The record counts this many attempts.
fn suspend_as(
    file: File<'_>,
    place: i64,
    hold: &Hold,
    attempt: u32,
    now: &Now,
) -> Result<(), Error> {
    let values = params![
        place,
        hold.id.as_bytes(),
        hold.token.as_bytes(),
        attempt,
        Millis::after(now.dates, hold.ttl),
        PhaseTag::Withdrawn,
        Millis::at(now.leases),
    ];
    file.write(WITHDRAW, values)
}
