//! Each step of the protocol as statements on a connection, inside a transaction that the caller commits.
//!
//! Every step reads the record first, so one that cannot be read stops it with an error before anything is written.

use std::time::SystemTime;

use bytes::Bytes;
use rusqlite::{Error, params};

use super::{
    index::File,
    millis::Millis,
    new_row::NewRow,
    places::Entry,
    room::{Changes, Counted},
    row::{PhaseTag, Stored},
    statements::{CHECKPOINT, KEEP, PURGE, RENEW},
    timeline::Now,
};
use crate::{
    Fingerprint, OnLost,
    record::{Phase, RecordId, Token},
    store::{Claim, Hold, IfOwner, StoreError, spent::SpentTokens},
};

/// What a claim may do with the record that it found.
pub(super) enum Found {
    /// Nothing: this is the result.
    Settled(Claim),
    /// Nothing: its token is spent.
    Spent,
    /// Take the key, as this attempt, with the progress of the previous one and these spent tokens.
    Free {
        attempt: u32,
        progress: Bytes,
        spent: SpentTokens,
    },
}

/// The result of this claim, given the record that was found.
pub(super) fn decide(
    found: Option<Stored>,
    hold: &Hold,
    fingerprint: &Fingerprint,
    on_lost: OnLost,
    now: &Now,
) -> Found {
    let new = |spent| Found::Free {
        attempt: 1,
        progress: Bytes::new(),
        spent,
    };
    let Some(found) = found.filter(|found| !found.is_expired(now)) else {
        return new(SpentTokens::default());
    };
    if found.is_spent(&hold.token) {
        return Found::Spent;
    }
    let spent = found.spent_tokens();
    if found.is_free() {
        return new(spent);
    }
    let may_be_taken = found.is_lapsed(now) && found.record.fingerprint == *fingerprint;
    let is_own = found.is_by(&hold.token);
    let record = found.record;
    match record.phase {
        Phase::Completed { outcome } => Found::Settled(Claim::Completed {
            fingerprint: record.fingerprint,
            outcome,
            expires_at: record.expires_at,
        }),
        Phase::InFlight { progress, .. } if is_own => Found::Settled(Claim::Won {
            attempt: record.attempt,
            progress,
        }),
        Phase::InFlight { progress, .. } if may_be_taken => match on_lost {
            OnLost::TakeOver => Found::Free {
                attempt: record.attempt.saturating_add(1),
                progress,
                spent,
            },
            OnLost::Refuse => Found::Settled(Claim::Unknown {
                fingerprint: record.fingerprint,
            }),
        },
        Phase::InFlight { .. } => Found::Settled(Claim::InFlight {
            fingerprint: record.fingerprint,
        }),
    }
}

/// Takes a new key only if there is room for it.
pub(super) fn claim(
    file: File<'_>,
    hold: &Hold,
    fingerprint: &Fingerprint,
    on_lost: OnLost,
    admit: impl FnOnce() -> Result<(), StoreError>,
    now: &Now,
    changes: &mut Changes,
) -> Result<Result<Claim, StoreError>, Error> {
    let found = file.find(&hold.id)?;
    let before = found.as_ref().and_then(Counted::of);
    let place = found.as_ref().map(|found| found.place);
    let (attempt, progress, spent) = match decide(found, hold, fingerprint, on_lost, now) {
        Found::Settled(claim) => return Ok(Ok(claim)),
        Found::Spent => return Ok(Err(StoreError::withdrawn())),
        Found::Free {
            attempt,
            progress,
            spent,
        } => (attempt, progress, spent),
    };
    // A claim with a lease of zero asks what became of a commit, and takes no room for long.
    if attempt == 1
        && !hold.lease.is_zero()
        && let Err(error) = admit()
    {
        return Ok(Err(error));
    }
    let row = NewRow {
        fingerprint,
        token: &hold.token,
        attempt,
        expires_at: forgotten_at(hold, now),
        phase: PhaseTag::InFlight,
        lease_until: Some(Millis::after(now.leases, hold.lease)),
        left: (!progress.is_empty()).then_some(progress.as_ref()),
        spent: spent.bytes(),
        scope: hold.scope,
        created_at: Some(Millis::at(now.dates)),
        completed_at: None,
        labels: Some(&hold.labels),
    };
    row.put(file, &hold.id, place)?;
    changes.removed(before);
    changes.added(Counted::new(Some(hold.scope), progress.len()));
    Ok(Ok(Claim::Won { attempt, progress }))
}

pub(super) fn renew(file: File<'_>, hold: &Hold, now: &Now) -> Result<IfOwner<()>, Error> {
    let own = own(file, &hold.id, &hold.token, now)?;
    let Some(found) = own.filter(Stored::is_in_flight) else {
        return Ok(IfOwner::NotOwner);
    };
    let values = params![
        found.place,
        hold.id.as_bytes(),
        forgotten_at(hold, now),
        Millis::after(now.leases, hold.lease),
    ];
    file.write(RENEW, values)?;
    Ok(IfOwner::Done(()))
}

pub(super) fn checkpoint(
    file: File<'_>,
    hold: &Hold,
    progress: &Bytes,
    now: &Now,
    changes: &mut Changes,
) -> Result<IfOwner<()>, Error> {
    let own = own(file, &hold.id, &hold.token, now)?;
    let Some(found) = own.filter(Stored::is_in_flight) else {
        return Ok(IfOwner::NotOwner);
    };
    checkpoint_progress(file, &found, progress, changes)?;
    Ok(IfOwner::Done(()))
}

/// Stores a run's progress, unless the stored progress is longer.
pub(super) fn checkpoint_progress(
    file: File<'_>,
    found: &Stored,
    progress: &Bytes,
    changes: &mut Changes,
) -> Result<(), Error> {
    if progress.len() >= found.left().len() {
        let id = found.record.id.as_bytes();
        file.write(CHECKPOINT, params![found.place, id, progress.as_ref()])?;
        changes.replaced(Counted::of(found), progress.len());
    }
    Ok(())
}

pub(super) fn complete(
    file: File<'_>,
    hold: &Hold,
    outcome: &Bytes,
    now: &Now,
    changes: &mut Changes,
) -> Result<IfOwner<SystemTime>, Error> {
    match own(file, &hold.id, &hold.token, now)? {
        None => Ok(IfOwner::NotOwner),
        // The same owner repeats a completion that was done but whose reply was lost.
        Some(found) if !found.is_in_flight() => Ok(IfOwner::Done(found.record.expires_at)),
        Some(found) => {
            let expires_at = Millis::after(now.dates, hold.ttl);
            complete_as(
                file,
                &hold.id,
                found.place,
                &hold.token,
                expires_at,
                outcome,
                now,
            )?;
            changes.replaced(Counted::of(&found), outcome.len());
            Ok(IfOwner::Done(expires_at.time()))
        }
    }
}

/// The row that a run's outcome replaces.
pub(super) struct Before {
    place: Option<i64>,
    counted: Option<Counted>,
}

/// The row that a run may overwrite with its outcome. It may if the record is its own, or there is none, and its token
/// is not spent.
pub(super) fn may_commit(
    file: File<'_>,
    hold: &Hold,
    is_held: bool,
    now: &Now,
) -> Result<IfOwner<Before>, Error> {
    let found = file.find(&hold.id)?;
    let before = Before {
        place: found.as_ref().map(|found| found.place),
        counted: found.as_ref().and_then(Counted::of),
    };
    let may_commit = match found.filter(|found| !found.is_expired(now)) {
        Some(found) if is_held => {
            found.is_by(&hold.token) && !found.is_withdrawn && found.is_in_flight()
        }
        Some(found) => found.is_free() && !found.is_spent(&hold.token),
        None => !is_held,
    };
    Ok(if may_commit {
        IfOwner::Done(before)
    } else {
        IfOwner::NotOwner
    })
}

/// Writes a run's outcome, in the piece of work that is its effect, in place of a row that [`may_commit`] found.
#[expect(
    clippy::too_many_arguments,
    reason = "each is one part of the record or of its place"
)]
pub(super) fn commit_outcome(
    file: File<'_>,
    hold: &Hold,
    fingerprint: &Fingerprint,
    outcome: &Bytes,
    is_held: bool,
    before: &Before,
    now: &Now,
    changes: &mut Changes,
) -> Result<SystemTime, Error> {
    let expires_at = Millis::after(now.dates, hold.ttl);
    match before.place {
        Some(place) if is_held => {
            complete_as(file, &hold.id, place, &hold.token, expires_at, outcome, now)?;
            changes.replaced(before.counted, outcome.len());
        }
        place => {
            let row = NewRow {
                fingerprint,
                token: &hold.token,
                attempt: 1,
                expires_at,
                phase: PhaseTag::Completed,
                lease_until: None,
                left: Some(outcome.as_ref()),
                spent: None,
                scope: hold.scope,
                created_at: Some(Millis::at(now.dates)),
                completed_at: Some(Millis::at(now.dates)),
                labels: Some(&hold.labels),
            };
            row.put(file, &hold.id, place)?;
            changes.removed(before.counted);
            changes.added(Counted::new(Some(hold.scope), outcome.len()));
        }
    }
    Ok(expires_at.time())
}

pub(super) fn purge_expired(
    file: File<'_>,
    limit: usize,
    now: &Now,
    changes: &mut Changes,
) -> Result<usize, Error> {
    let mut purge = file.connection.prepare_cached(PURGE)?;
    let mut gone = purge.query(params![Millis::at(now.judged), rows(limit)])?;
    let mut purged = 0;
    while let Some(row) = gone.next()? {
        purged += 1;
        changes.removed(Counted::read(row)?);
        // Malformed ids have no place in the index.
        if let Ok(id) = row.get(4) {
            let entry = Entry::new(&RecordId::from_bytes(id), row.get(3)?);
            file.places.remove(entry);
        }
    }
    Ok(purged)
}

/// The record, if it exists, belongs to this token, and the token is not spent.
pub(super) fn own(
    file: File<'_>,
    id: &RecordId,
    token: &Token,
    now: &Now,
) -> Result<Option<Stored>, Error> {
    let found = file.find(id)?;
    Ok(found.filter(|found| !found.is_expired(now) && found.is_by(token) && !found.is_withdrawn))
}

/// Ends the hold in this place with an outcome.
pub(super) fn complete_as(
    file: File<'_>,
    id: &RecordId,
    place: i64,
    token: &Token,
    expires_at: Millis,
    outcome: &Bytes,
    now: &Now,
) -> Result<(), Error> {
    let values = params![
        place,
        id.as_bytes(),
        token.as_bytes(),
        expires_at,
        PhaseTag::Completed,
        outcome.as_ref(),
        Millis::at(now.dates),
    ];
    file.write(KEEP, values)
}

/// When a hold that is not renewed from now on may be forgotten.
pub(super) fn forgotten_at(hold: &Hold, now: &Now) -> Millis {
    Millis::after(now.dates, hold.lease.saturating_add(hold.ttl))
}

/// A number of rows in SQLite's type.
fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
