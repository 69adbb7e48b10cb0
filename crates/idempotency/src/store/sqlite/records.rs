//! Each step of the protocol as statements on a connection, inside a transaction that somebody else commits.
//!
//! Every step reads the record first, so one that cannot be read stops it with an error before it has written.

use std::time::SystemTime;

use bytes::Bytes;
use rusqlite::{
    Connection, Error, OptionalExtension, Row, params,
    types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef},
};

use super::millis::Millis;
use crate::{Claim, Fenced, Fingerprint, Hold, OnLost, Phase, Record, RecordId, Resolution, Token};

const FIND: &str = "
    select id, fingerprint, token, attempt, expires_at, phase, lease_until, outcome
    from idempotency_records
    where id = ?1
";

const TAKE: &str = "
    insert into idempotency_records
        (id, fingerprint, token, attempt, expires_at, phase, lease_until, outcome)
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
    on conflict (id) do update set
        fingerprint = excluded.fingerprint,
        token = excluded.token,
        attempt = excluded.attempt,
        expires_at = excluded.expires_at,
        phase = excluded.phase,
        lease_until = excluded.lease_until,
        outcome = excluded.outcome
";

const LEAVE: &str = "
    insert or replace into idempotency_records
        (id, fingerprint, token, attempt, expires_at, phase, lease_until, outcome)
    values (?1, ?2, ?3, 1, ?4, ?5, null, ?6)
";

const RENEW: &str = "
    update idempotency_records
    set expires_at = ?2, lease_until = ?3
    where id = ?1
";

const CHECKPOINT: &str = "update idempotency_records set outcome = ?2 where id = ?1";

const KEEP: &str = "
    update idempotency_records
    set token = ?2, expires_at = ?3, phase = ?4, lease_until = null, outcome = ?5
    where id = ?1
";

const FREE: &str = "delete from idempotency_records where id = ?1";

const LIST: &str = "
    select id, fingerprint, token, attempt, expires_at, phase, lease_until, outcome
    from idempotency_records
    where id > ?1 and expires_at > ?2
    order by id
    limit ?3
";

const PURGE: &str = "
    delete from idempotency_records
    where rowid in (
        select rowid from idempotency_records where expires_at <= ?1 order by expires_at limit ?2
    )
";

/// What a claim may do with what it has found.
pub(super) enum Found {
    /// Nothing: this is the answer.
    Settled(Claim),
    /// Take the key, as this attempt, with what the one before has left.
    Free { attempt: u32, progress: Bytes },
}

/// What the column `phase` says; another number comes from another version of this library.
enum PhaseTag {
    InFlight,
    Completed,
}

pub(super) fn find(connection: &Connection, id: &RecordId) -> Result<Option<Record>, Error> {
    connection
        .prepare_cached(FIND)?
        .query_row([id.as_bytes()], record)
        .optional()
}

/// What this claim would get, by what was found.
pub(super) fn judge(
    found: Option<Record>,
    hold: &Hold,
    fingerprint: &Fingerprint,
    on_lost: OnLost,
    now: SystemTime,
) -> Found {
    let Some(record) = found.filter(|record| record.expires_at > now) else {
        return Found::Free {
            attempt: 1,
            progress: Bytes::new(),
        };
    };
    match record.phase {
        Phase::Completed { outcome } => Found::Settled(Claim::Completed {
            fingerprint: record.fingerprint,
            outcome,
            expires_at: record.expires_at,
        }),
        Phase::InFlight { progress, .. } if record.token == hold.token => {
            Found::Settled(Claim::Won {
                attempt: record.attempt,
                progress,
            })
        }
        Phase::InFlight {
            lease_until,
            progress,
        } if lease_until <= now && record.fingerprint == *fingerprint => match on_lost {
            OnLost::TakeOver => Found::Free {
                attempt: record.attempt.saturating_add(1),
                progress,
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

pub(super) fn claim(
    connection: &Connection,
    hold: &Hold,
    fingerprint: &Fingerprint,
    on_lost: OnLost,
    now: SystemTime,
) -> Result<Claim, Error> {
    let found = find(connection, &hold.id)?;
    let (attempt, progress) = match judge(found, hold, fingerprint, on_lost, now) {
        Found::Settled(claim) => return Ok(claim),
        Found::Free { attempt, progress } => (attempt, progress),
    };
    connection.prepare_cached(TAKE)?.execute(params![
        hold.id.as_bytes(),
        fingerprint.as_bytes(),
        hold.token.as_bytes(),
        attempt,
        forgotten_at(hold, now),
        PhaseTag::InFlight,
        Millis::after(now, hold.lease),
        (!progress.is_empty()).then_some(progress.as_ref()),
    ])?;
    Ok(Claim::Won { attempt, progress })
}

pub(super) fn renew(
    connection: &Connection,
    hold: &Hold,
    now: SystemTime,
) -> Result<Fenced<()>, Error> {
    if !owns(connection, &hold.id, &hold.token, now)? {
        return Ok(Fenced::Lost);
    }
    connection.prepare_cached(RENEW)?.execute(params![
        hold.id.as_bytes(),
        forgotten_at(hold, now),
        Millis::after(now, hold.lease),
    ])?;
    Ok(Fenced::Done(()))
}

pub(super) fn checkpoint(
    connection: &Connection,
    hold: &Hold,
    progress: &Bytes,
    now: SystemTime,
) -> Result<Fenced<()>, Error> {
    if !owns(connection, &hold.id, &hold.token, now)? {
        return Ok(Fenced::Lost);
    }
    connection
        .prepare_cached(CHECKPOINT)?
        .execute(params![hold.id.as_bytes(), progress.as_ref()])?;
    Ok(Fenced::Done(()))
}

pub(super) fn complete(
    connection: &Connection,
    hold: &Hold,
    outcome: &Bytes,
    now: SystemTime,
) -> Result<Fenced<SystemTime>, Error> {
    match own(connection, &hold.id, &hold.token, now)? {
        None => Ok(Fenced::Lost),
        // The same owner again, whose first completion was done but not heard of.
        Some(Record {
            phase: Phase::Completed { .. },
            expires_at,
            ..
        }) => Ok(Fenced::Done(expires_at)),
        Some(_) => {
            let expires_at = Millis::after(now, hold.ttl);
            keep(connection, &hold.id, &hold.token, expires_at, outcome)?;
            Ok(Fenced::Done(expires_at.time()))
        }
    }
}

/// Writes what a run leaves, in the piece of work that is its effect. The caller has made sure that the record is its
/// own, or that there is none.
pub(super) fn leave(
    connection: &Connection,
    hold: &Hold,
    fingerprint: &Fingerprint,
    outcome: &Bytes,
    is_held: bool,
    now: SystemTime,
) -> Result<SystemTime, Error> {
    let expires_at = Millis::after(now, hold.ttl);
    match is_held {
        true => keep(connection, &hold.id, &hold.token, expires_at, outcome)?,
        false => {
            connection.prepare_cached(LEAVE)?.execute(params![
                hold.id.as_bytes(),
                fingerprint.as_bytes(),
                hold.token.as_bytes(),
                expires_at,
                PhaseTag::Completed,
                outcome.as_ref(),
            ])?;
        }
    }
    Ok(expires_at.time())
}

pub(super) fn release(
    connection: &Connection,
    hold: &Hold,
    now: SystemTime,
) -> Result<Fenced<()>, Error> {
    resolve(connection, &hold.id, &hold.token, &Resolution::Release, now)
}

pub(super) fn resolve(
    connection: &Connection,
    id: &RecordId,
    seen: &Token,
    resolution: &Resolution,
    now: SystemTime,
) -> Result<Fenced<()>, Error> {
    if !owns(connection, id, seen, now)? {
        return Ok(Fenced::Lost);
    }
    match resolution {
        Resolution::Release => {
            connection.prepare_cached(FREE)?.execute([id.as_bytes()])?;
        }
        // A new token: the owner that was given up can complete nothing any more, not even "again".
        Resolution::Complete { outcome, ttl } => {
            let expires_at = Millis::after(now, *ttl);
            keep(connection, id, &Token::random(), expires_at, outcome)?;
        }
    }
    Ok(Fenced::Done(()))
}

pub(super) fn list(
    connection: &Connection,
    after: Option<&RecordId>,
    limit: usize,
    now: SystemTime,
) -> Result<Vec<Record>, Error> {
    // No id is as small as the empty blob, so that one stands for the start.
    let after = after.map_or(&[][..], |id| id.as_bytes());
    connection
        .prepare_cached(LIST)?
        .query_map(params![after, Millis::at(now), rows(limit)], record)?
        .collect()
}

pub(super) fn purge_expired(
    connection: &Connection,
    limit: usize,
    now: SystemTime,
) -> Result<usize, Error> {
    connection
        .prepare_cached(PURGE)?
        .execute(params![Millis::at(now), rows(limit)])
}

/// The record, if it is there and this token's.
fn own(
    connection: &Connection,
    id: &RecordId,
    token: &Token,
    now: SystemTime,
) -> Result<Option<Record>, Error> {
    let found = find(connection, id)?;
    Ok(found.filter(|record| record.expires_at > now && record.token == *token))
}

/// Whether this token may change the record: still in flight, and its own.
pub(super) fn owns(
    connection: &Connection,
    id: &RecordId,
    token: &Token,
    now: SystemTime,
) -> Result<bool, Error> {
    let own = own(connection, id, token, now)?;
    Ok(own.is_some_and(|record| matches!(record.phase, Phase::InFlight { .. })))
}

fn keep(
    connection: &Connection,
    id: &RecordId,
    token: &Token,
    expires_at: Millis,
    outcome: &Bytes,
) -> Result<(), Error> {
    connection.prepare_cached(KEEP)?.execute(params![
        id.as_bytes(),
        token.as_bytes(),
        expires_at,
        PhaseTag::Completed,
        outcome.as_ref(),
    ])?;
    Ok(())
}

/// When a hold that nobody renews from now on may be forgotten.
fn forgotten_at(hold: &Hold, now: SystemTime) -> Millis {
    Millis::after(now, hold.lease.saturating_add(hold.ttl))
}

fn record(row: &Row<'_>) -> Result<Record, Error> {
    Ok(Record {
        id: RecordId::from_bytes(row.get(0)?),
        fingerprint: Fingerprint::from_bytes(row.get(1)?),
        token: Token::from_bytes(row.get(2)?),
        attempt: row.get(3)?,
        expires_at: row.get::<_, Millis>(4)?.time(),
        phase: match row.get(5)? {
            PhaseTag::InFlight => Phase::InFlight {
                lease_until: row.get::<_, Millis>(6)?.time(),
                progress: row.get::<_, Option<Vec<u8>>>(7)?.unwrap_or_default().into(),
            },
            PhaseTag::Completed => Phase::Completed {
                outcome: row.get::<_, Vec<u8>>(7)?.into(),
            },
        },
    })
}

/// A number of rows as SQLite counts them.
fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

impl ToSql for PhaseTag {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>, Error> {
        Ok(ToSqlOutput::from(match self {
            Self::InFlight => 1,
            Self::Completed => 2,
        }))
    }
}

impl FromSql for PhaseTag {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_i64()? {
            1 => Ok(Self::InFlight),
            2 => Ok(Self::Completed),
            other => Err(FromSqlError::OutOfRange(other)),
        }
    }
}
