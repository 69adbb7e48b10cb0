//! The ends of a hold that leave no outcome, as statements like those of [`records`](super::records).

use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Connection, Error, params};

use super::{
    millis::Millis,
    records::{find, forgotten_at, keep_progress, owns},
    row::PhaseTag,
    statements::{FREE, TAKE, WITHDRAW},
    timeline::Now,
};
use crate::{Fenced, Fingerprint, Hold, OnLost, Phase, RecordId, Token};

/// Says whether this ended a hold.
pub(super) fn withdraw(
    connection: &Connection,
    hold: &Hold,
    fingerprint: &Fingerprint,
    on_lost: OnLost,
    now: &Now,
) -> Result<bool, Error> {
    let forgotten_at = forgotten_at(hold, now);
    let found = find(connection, &hold.id)?;
    let Some(found) = found.filter(|found| !found.is_expired(now)) else {
        connection.prepare_cached(TAKE)?.execute(params![
            hold.id.as_bytes(),
            fingerprint.as_bytes(),
            hold.token.as_bytes(),
            0,
            forgotten_at,
            PhaseTag::Withdrawn,
            Millis::at(now.leases),
            None::<&[u8]>,
        ])?;
        return Ok(false);
    };
    if found.is_spent(&hold.token) {
        return Ok(false);
    }
    if found.is_free() {
        let expires_at = found.record.expires_at.max(forgotten_at.time());
        let expires_at = Millis::after(expires_at, Duration::ZERO);
        let spent = found.spent_tokens();
        free(connection, &hold.id, &hold.token, &spent, expires_at, now)?;
        return Ok(false);
    }
    let Phase::InFlight {
        lease_until,
        progress,
    } = &found.record.phase
    else {
        return Ok(false);
    };
    let (is_own, attempt) = (found.is_by(&hold.token), found.record.attempt);
    if is_own && attempt == 1 && progress.is_empty() {
        free(connection, &hold.id, &hold.token, &[], forgotten_at, now)?;
        return Ok(true);
    }
    if is_own {
        suspend_as(connection, hold, (attempt - 1).max(1), now)?;
        return Ok(true);
    }
    // The claim is yet to come and would take the key over, so it finds that its token has. A run that is only late has an
    // owner who may end it still, and is left alone.
    if found.is_withdrawn
        && on_lost == OnLost::TakeOver
        && found.is_lapsed(now)
        && found.record.fingerprint == *fingerprint
    {
        connection.prepare_cached(WITHDRAW)?.execute(params![
            hold.id.as_bytes(),
            hold.token.as_bytes(),
            attempt,
            Millis::after(found.record.expires_at, Duration::ZERO),
            PhaseTag::Withdrawn,
            Millis::at(*lease_until),
        ])?;
    }
    Ok(false)
}

pub(super) fn suspend(
    connection: &Connection,
    hold: &Hold,
    progress: &Bytes,
    now: &Now,
) -> Result<Fenced<()>, Error> {
    let found = find(connection, &hold.id)?
        .filter(|found| !found.is_expired(now) && found.is_by(&hold.token) && found.is_in_flight());
    match found {
        None => Ok(Fenced::Lost),
        // The same owner again, whose first call was done but not heard of.
        Some(found) if found.is_withdrawn => Ok(Fenced::Done(())),
        Some(found) => {
            keep_progress(connection, &found, progress)?;
            suspend_as(connection, hold, found.record.attempt, now)?;
            Ok(Fenced::Done(()))
        }
    }
}

pub(super) fn release(
    connection: &Connection,
    hold: &Hold,
    now: &Now,
) -> Result<Fenced<()>, Error> {
    if !owns(connection, &hold.id, &hold.token, now)? {
        return Ok(Fenced::Lost);
    }
    let expires_at = Millis::after(now.dates, hold.lease);
    free(connection, &hold.id, &hold.token, &[], expires_at, now)?;
    Ok(Fenced::Done(()))
}

/// Frees the key. The record stays until then and says that this token is spent, and these older ones.
pub(super) fn free(
    connection: &Connection,
    id: &RecordId,
    token: &Token,
    spent: &[u8],
    expires_at: Millis,
    now: &Now,
) -> Result<(), Error> {
    connection.prepare_cached(FREE)?.execute(params![
        id.as_bytes(),
        token.as_bytes(),
        expires_at,
        PhaseTag::Withdrawn,
        Millis::at(now.leases),
        (!spent.is_empty()).then_some(spent),
    ])?;
    Ok(())
}

/// Ends a hold so that the next claim takes it over at once. So many attempts stand.
fn suspend_as(connection: &Connection, hold: &Hold, attempt: u32, now: &Now) -> Result<(), Error> {
    connection.prepare_cached(WITHDRAW)?.execute(params![
        hold.id.as_bytes(),
        hold.token.as_bytes(),
        attempt,
        Millis::after(now.dates, hold.ttl),
        PhaseTag::Withdrawn,
        Millis::at(now.leases),
    ])?;
    Ok(())
}
