//! Reads the rows of the statements.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use sqlx::{
    Decode, Encode, Error, Postgres, Row, Type,
    encode::IsNull,
    error::BoxDynError,
    postgres::{PgArgumentBuffer, PgRow, PgTypeInfo, PgValueRef, types::Oid},
};

use crate::{
    Fingerprint, OnLost,
    labels::Labels,
    record::{Phase, Record, RecordId, Token},
    store::{Claim, Hold, IfOwner, Listed, StoreError},
};

/// The phase of a record whose token is spent: its claim was withdrawn, or its hold released. With attempt 0 the key is
/// free.
const WITHDRAWN: i16 = 3;

/// The longest outcome: one that travels to the server, and back for each replay, well within the time of a statement.
/// The server itself would accept almost a gibibyte in one field. But if an outcome does not reach it in time, a retry
/// runs again, which a tombstone prevents.
pub(super) const MAX_OUTCOME: usize = 64 << 20;

/// The longest outcome that goes together with others, which wait for it.
pub(super) const MAX_TOGETHER_OUTCOME: i32 = 64 << 10;

/// What a claim has found.
pub(super) struct Found {
    record: Record,
    /// Whether the record's token is spent.
    withdrawn: bool,
    /// The other spent tokens, one after another.
    spent: Vec<u8>,
    expired: bool,
    lapsed: bool,
    /// Whether a notification of its end will be sent.
    pub(super) awaited: bool,
}

/// What the claim may do next.
pub(super) enum Next {
    /// Nothing: this is the result.
    Answer(Claim),
    /// Nothing but wait for the end of this token's hold.
    Wait(Token, Claim),
    /// Take the key over.
    TakeOver,
    /// Nothing: the claim was withdrawn before it arrived.
    Spent,
}

impl Found {
    pub(super) fn read(row: &PgRow) -> Result<Self, Error> {
        Ok(Self {
            record: record(row)?,
            withdrawn: row.try_get::<i16, _>(5)? == WITHDRAWN,
            expired: row.try_get(8)?,
            lapsed: row.try_get(9)?,
            awaited: row.try_get(10)?,
            spent: row.try_get::<Option<_>, _>(11)?.unwrap_or_default(),
        })
    }

    /// The owner of the record, while it is in flight.
    pub(super) fn owner(&self) -> Option<&Token> {
        let is_in_flight = matches!(self.record.phase, Phase::InFlight { .. }) && !self.is_free();
        is_in_flight.then_some(&self.record.token)
    }

    /// Whether it is only a mark of spent tokens.
    fn is_free(&self) -> bool {
        self.withdrawn && self.record.attempt == 0
    }

    /// Whether a claim by this token takes nothing any more.
    fn is_spent(&self, token: &Token) -> bool {
        let token = token.as_bytes();
        let is_last = self.withdrawn && self.record.token.as_bytes() == token;
        is_last || self.spent.chunks(token.len()).any(|spent| spent == token)
    }

    pub(super) fn decide(self, hold: &Hold, fingerprint: &Fingerprint, on_lost: OnLost) -> Next {
        if self.expired {
            return Next::TakeOver;
        }
        if self.is_spent(&hold.token) {
            return Next::Spent;
        }
        if self.is_free() {
            return Next::TakeOver;
        }
        let record = self.record;
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

/// Whether a statement that matches only the owner's token has changed the record.
pub(super) fn fenced(rows: &[PgRow]) -> IfOwner<()> {
    match rows {
        [] => IfOwner::NotOwner,
        _ => IfOwner::Done(()),
    }
}

/// The rows of several records, of which the first column is the id.
pub(super) fn by_id(rows: &[PgRow]) -> HashMap<RecordId, &PgRow> {
    let id = |row: &PgRow| row.try_get(0).map(RecordId::from_bytes);
    rows.iter()
        .filter_map(|row| Some((id(row).ok()?, row)))
        .collect()
}

fn record(row: &PgRow) -> Result<Record, Error> {
    let phase = match row.try_get::<i16, _>(5)? {
        1 | WITHDRAWN => Phase::InFlight {
            lease_until: time(row, 6)?,
            progress: progress(row, 7)?,
        },
        2 => Phase::Completed {
            outcome: row.try_get::<Vec<u8>, _>(7)?.into(),
        },
        other => return Err(Error::Decode(format!("there is no phase {other}").into())),
    };
    Ok(Record::new(
        RecordId::from_bytes(row.try_get(0)?),
        Fingerprint::from_bytes(row.try_get(1)?),
        Token::from_bytes(row.try_get(2)?),
        attempt(row, 3)?,
        time(row, 4)?,
        phase,
    ))
}

/// A record with its times and labels, which a claim does not ask for.
pub(super) fn whole_record(row: &PgRow) -> Result<Record, Error> {
    let mut record = record(row)?;
    record.created_at = time_if_any(row, 8)?;
    let completed_at = time_if_any(row, 9)?;
    // An earlier version that takes an expired record leaves this column unchanged.
    let is_completed = matches!(record.phase, Phase::Completed { .. });
    record.completed_at = completed_at.filter(|_| is_completed);
    record.labels = Labels::new(row.try_get(10)?, row.try_get(11)?);
    Ok(record)
}

/// The id after which a list continues, if it does.
pub(super) fn goes_on_after(rows: &[PgRow]) -> Result<Option<RecordId>, Error> {
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let id: Option<[u8; 32]> = row.try_get(12)?;
    Ok(id.map(RecordId::from_bytes))
}

/// The entry of a row; a page without records has one row without an id.
pub(super) fn listed(row: &PgRow) -> Option<Listed> {
    let id = RecordId::from_bytes(row.try_get(0).ok()?);
    Some(match whole_record(row) {
        Ok(record) => record.into(),
        Err(error) => Listed::unreadable(id, StoreError::unreadable(error)),
    })
}

/// The result of a take-over.
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

fn time_if_any(row: &PgRow, column: usize) -> Result<Option<SystemTime>, Error> {
    let time: Option<Timestamp> = row.try_get(column)?;
    Ok(time.map(|time| time.0))
}

/// A duration in the statements' unit: microseconds, rounded up, so that nothing ends early. A longer one is capped at
/// a century.
pub(super) fn microseconds(time: Duration) -> i64 {
    const CENTURY: Duration = Duration::from_secs(100 * 365 * 86_400);
    i64::try_from(time.min(CENTURY).as_nanos().div_ceil(1000)).unwrap_or(i64::MAX)
}

/// A number of rows in PostgreSQL's type.
pub(super) fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// The type `timestamptz`, without another library for times.
pub(super) struct Timestamp(pub(super) SystemTime);

impl Type<Postgres> for Timestamp {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(Oid(1184))
    }
}

/// The start of the year 2000, from which the server counts.
const Y2K: Duration = Duration::from_secs(946_684_800);

/// The first moment that is not before this time; a time outside the server's range becomes its earliest or latest one.
impl Encode<'_, Postgres> for Timestamp {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        /// The start of the year 4713 BC, and the end of 294276.
        const EARLIEST: i64 = -211_813_488_000_000_000;
        const LATEST: i64 = 9_223_371_331_199_999_999;
        let microseconds = match self.0.duration_since(UNIX_EPOCH + Y2K) {
            Ok(after) => i64::try_from(after.as_nanos().div_ceil(1000)).unwrap_or(LATEST),
            Err(before) => {
                let before = i64::try_from(before.duration().as_micros());
                before.map_or(EARLIEST, |before| -before)
            }
        };
        Encode::<Postgres>::encode_by_ref(&microseconds.clamp(EARLIEST, LATEST), buffer)
    }
}

impl Decode<'_, Postgres> for Timestamp {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
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
