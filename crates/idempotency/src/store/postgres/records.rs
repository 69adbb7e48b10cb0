//! The statements, each a step of the protocol that is atomic by itself, and what their rows say.
//!
//! A statement reads the server's clock once, so that all it compares and writes fits together. `now()` would not
//! do: within a transaction it stands still.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use sqlx::{
    Decode, Error, Postgres, Row, Type,
    error::BoxDynError,
    postgres::{PgRow, PgTypeInfo, PgValueRef, types::Oid},
};

use crate::{Claim, Fenced, Fingerprint, Hold, OnLost, Phase, Record, RecordId, Token};

/// Takes a key that nobody has used, or shows its record; a row either way. Only where another claim takes the key
/// between the two is there none: then the record is there for the next look.
///
/// A record that is found is not locked and nothing is written, which `on conflict do update` would do.
pub(super) const CLAIM: &str = "
    with clock as materialized (
        select clock_timestamp() as now
    ),
    found as materialized (
        select id, fingerprint, token, attempt, expires_at, phase, lease_until, outcome, awaited
        from idempotency_records
        where id = $1
    ),
    taken as (
        insert into idempotency_records
            (id, fingerprint, token, attempt, expires_at, phase, lease_until)
        select $1, $2, $3, 1,
            now + ($4 + $5) * interval '1 microsecond', 1, now + $4 * interval '1 microsecond'
        from clock
        where not exists (select from found)
        on conflict (id) do nothing
        returning id, fingerprint, token, attempt, expires_at, phase, lease_until, outcome, awaited
    )
    select id, fingerprint, token, attempt, expires_at, phase, lease_until, outcome,
        expires_at <= now as expired, coalesce(lease_until <= now, false) as lapsed, awaited
    from (select * from found union all select * from taken) as record, clock
";

/// Takes a key whose record has expired, or whose hold has lapsed and was for the same request, which leaves what the
/// run had done so far. Those who wait for it still do.
pub(super) const TAKE_OVER: &str = "
    update idempotency_records as record
    set fingerprint = $2,
        token = $3,
        attempt = case when expires_at <= now then 1 else attempt + 1 end,
        expires_at = now + ($4 + $5) * interval '1 microsecond',
        phase = 1,
        lease_until = now + $4 * interval '1 microsecond',
        outcome = case when expires_at <= now then null else outcome end
    from (select clock_timestamp() as now) as clock
    where id = $1
        and (expires_at <= now or $6 and phase = 1 and lease_until <= now and fingerprint = $2)
    returning attempt, outcome
";

/// Asks for a notification of the hold's end; no row if it has ended already.
pub(super) const AWAIT: &str = "
    update idempotency_records
    set awaited = true
    where id = $1 and token = $2 and phase = 1
    returning 1
";

pub(super) const RENEW: &str = "
    update idempotency_records as record
    set expires_at = now + ($3 + $4) * interval '1 microsecond',
        lease_until = now + $3 * interval '1 microsecond'
    from (select clock_timestamp() as now) as clock
    where id = $1 and token = $2 and phase = 1 and expires_at > now
    returning 1
";

pub(super) const CHECKPOINT: &str = "
    update idempotency_records as record
    set outcome = $3
    from (select clock_timestamp() as now) as clock
    where id = $1 and token = $2 and phase = 1 and expires_at > now
    returning 1
";

/// Keeps an outcome; where this owner has left one before, it stays as it is.
pub(super) const COMPLETE: &str = "
    update idempotency_records as record
    set expires_at = case phase when 1 then now + $3 * interval '1 microsecond' else expires_at end,
        phase = 2,
        lease_until = null,
        outcome = case phase when 1 then $4 else outcome end
    from (select clock_timestamp() as now) as clock
    where id = $1 and token = $2 and phase in (1, 2) and expires_at > now
    returning expires_at, case when awaited then pg_notify('idempotency', encode(id, 'hex')) end
";

/// Writes a record that is completed from the start, within the transaction of what it stands for; no row where there is
/// one already. It waits for a transaction that has written the same key, until that has ended.
pub(super) const LEAVE: &str = "
    insert into idempotency_records as record
        (id, fingerprint, token, attempt, expires_at, phase, outcome)
    select $1, $5, $2, 1, now + $3 * interval '1 microsecond', 2, $4
    from (select clock_timestamp() as now) as clock
    on conflict (id) do update
    set fingerprint = excluded.fingerprint,
        token = excluded.token,
        attempt = excluded.attempt,
        expires_at = excluded.expires_at,
        phase = excluded.phase,
        lease_until = null,
        outcome = excluded.outcome
    where record.expires_at <= clock_timestamp()
    returning expires_at
";

pub(super) const RELEASE: &str = "
    delete from idempotency_records as record
    using (select clock_timestamp() as now) as clock
    where id = $1 and token = $2 and phase = 1 and expires_at > now
    returning case when awaited then pg_notify('idempotency', encode(id, 'hex')) end
";

/// Keeps an operator's outcome, under a new token: the owner that was given up can complete nothing any more, not
/// even "again".
pub(super) const RESOLVE: &str = "
    update idempotency_records as record
    set token = $3,
        expires_at = now + $4 * interval '1 microsecond',
        phase = 2,
        lease_until = null,
        outcome = $5
    from (select clock_timestamp() as now) as clock
    where id = $1 and token = $2 and phase = 1 and expires_at > now
    returning case when awaited then pg_notify('idempotency', encode(id, 'hex')) end
";

pub(super) const FIND: &str = "
    select id, fingerprint, token, attempt, expires_at, phase, lease_until, outcome
    from idempotency_records
    where id = $1 and expires_at > clock_timestamp()
";

pub(super) const LIST: &str = "
    select id, fingerprint, token, attempt, expires_at, phase, lease_until, outcome
    from idempotency_records
    where id > $1 and expires_at > (select clock_timestamp())
    order by id
    limit $2
";

/// Leaves out what somebody else has locked: a claim that takes the record, or another sweep.
pub(super) const PURGE: &str = "
    with expired as materialized (
        select id
        from idempotency_records
        where expires_at <= (select clock_timestamp())
        order by expires_at
        limit $1
        for update skip locked
    )
    delete from idempotency_records as record
    using expired
    where record.id = expired.id
    returning 1
";

/// The longest outcome: what is carried there, and back for each replay, well within the time of a statement. The server
/// itself would take almost a gibibyte in one field; but an outcome that it is never told of in time leaves a key whose
/// retry runs again, and a tombstone does not.
pub(super) const MOST_OUTCOME: usize = 64 << 20;

/// What a claim has found.
pub(super) struct Found {
    record: Record,
    expired: bool,
    lapsed: bool,
    /// Whether its end will be notified.
    pub(super) awaited: bool,
}

/// What a claim may do with that.
pub(super) enum Next {
    /// Nothing: this is the answer.
    Answer(Claim),
    /// Nothing but wait for the end of this token's hold.
    Wait(Token, Claim),
    /// Take the key over.
    TakeOver,
}

impl Found {
    pub(super) fn read(row: &PgRow) -> Result<Self, Error> {
        Ok(Self {
            record: record(row)?,
            expired: row.try_get(8)?,
            lapsed: row.try_get(9)?,
            awaited: row.try_get(10)?,
        })
    }

    /// Whose the record is, while it is in flight.
    pub(super) fn owner(&self) -> Option<&Token> {
        matches!(self.record.phase, Phase::InFlight { .. }).then_some(&self.record.token)
    }

    pub(super) fn judge(self, hold: &Hold, fingerprint: &Fingerprint, on_lost: OnLost) -> Next {
        let record = self.record;
        if self.expired {
            return Next::TakeOver;
        }
        match record.phase {
            Phase::Completed { outcome } => Next::Answer(Claim::Completed {
                fingerprint: record.fingerprint,
                outcome,
                expires_at: record.expires_at,
            }),
            // Taken by this very statement, or by one whose reply was lost.
            Phase::InFlight { progress, .. } if record.token == hold.token => {
                Next::Answer(Claim::Won {
                    attempt: record.attempt,
                    progress,
                })
            }
            Phase::InFlight { .. } if self.lapsed && record.fingerprint == *fingerprint => {
                match on_lost {
                    OnLost::TakeOver => Next::TakeOver,
                    OnLost::Refuse => Next::Answer(Claim::Unknown {
                        fingerprint: record.fingerprint,
                    }),
                }
            }
            Phase::InFlight { .. } => Next::Wait(
                record.token,
                Claim::InFlight {
                    fingerprint: record.fingerprint,
                },
            ),
        }
    }
}

/// Whether a statement that only the owner's token fits has changed the record.
pub(super) fn fenced(rows: &[PgRow]) -> Fenced<()> {
    match rows {
        [] => Fenced::Lost,
        _ => Fenced::Done(()),
    }
}

pub(super) fn record(row: &PgRow) -> Result<Record, Error> {
    Ok(Record {
        id: RecordId::from_bytes(row.try_get(0)?),
        fingerprint: Fingerprint::from_bytes(row.try_get(1)?),
        token: Token::from_bytes(row.try_get(2)?),
        attempt: attempt(row, 3)?,
        expires_at: time(row, 4)?,
        phase: match row.try_get::<i16, _>(5)? {
            1 => Phase::InFlight {
                lease_until: time(row, 6)?,
                progress: progress(row, 7)?,
            },
            2 => Phase::Completed {
                outcome: row.try_get::<Vec<u8>, _>(7)?.into(),
            },
            other => return Err(Error::Decode(format!("there is no phase {other}").into())),
        },
    })
}

/// What a take-over has won.
pub(super) fn won(row: &PgRow) -> Result<Claim, Error> {
    Ok(Claim::Won {
        attempt: attempt(row, 0)?,
        progress: progress(row, 1)?,
    })
}

fn attempt(row: &PgRow, column: usize) -> Result<u32, Error> {
    u32::try_from(row.try_get::<i32, _>(column)?).map_err(|error| Error::Decode(error.into()))
}

fn progress(row: &PgRow, column: usize) -> Result<Bytes, Error> {
    let left: Option<Vec<u8>> = row.try_get(column)?;
    Ok(left.unwrap_or_default().into())
}

pub(super) fn time(row: &PgRow, column: usize) -> Result<SystemTime, Error> {
    Ok(row.try_get::<Timestamp, _>(column)?.0)
}

/// A length of time as the statements take it: microseconds, rounded up, because nothing ends early. A century
/// stands for what is longer.
pub(super) fn microseconds(time: Duration) -> i64 {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
    i64::try_from(time.min(CENTURY).as_nanos().div_ceil(1000)).unwrap_or(i64::MAX)
}

/// A number of rows as PostgreSQL counts them.
pub(super) fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// The type `timestamptz`, without another library for times.
struct Timestamp(SystemTime);

impl Type<Postgres> for Timestamp {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1184))
    }
}

impl Decode<'_, Postgres> for Timestamp {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        /// The start of the year 2000, from which the server counts.
        const Y2K: Duration = Duration::from_secs(946_684_800);
        let since_2000 = i64::from_be_bytes(value.as_bytes()?.try_into()?);
        let distance = Duration::from_micros(since_2000.unsigned_abs());
        let time = match since_2000 {
            i64::MIN | i64::MAX => None,
            ..0 => (UNIX_EPOCH + Y2K).checked_sub(distance),
            0.. => (UNIX_EPOCH + Y2K).checked_add(distance),
        };
        time.map(Self)
            .ok_or_else(|| "the time is not within the range of clocks".into())
    }
}
