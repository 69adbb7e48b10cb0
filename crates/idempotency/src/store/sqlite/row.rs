//! A record as the table holds it.

use std::time::SystemTime;

use bytes::Bytes;
use rusqlite::{
    Error, Row,
    types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, Type, ValueRef},
};

use super::{millis::Millis, timeline::Now};
use crate::{
    Fingerprint,
    labels::Labels,
    record::{Phase, Record, RecordId, ScopeId, Token},
    store::spent::SpentTokens,
};

/// A record and its spent tokens.
pub(super) struct Stored {
    /// Its lease is in the time of leases; a withdrawn record is in flight here.
    pub(super) record: Record,
    /// Whether its token is spent: its claim was withdrawn, its hold released, or an operator released it.
    pub(super) is_withdrawn: bool,
    /// The other spent tokens.
    pub(super) spent: SpentTokens,
    /// `None` in a record of an earlier version of this library.
    pub(super) scope: Option<ScopeId>,
    pub(super) place: i64,
}

/// The value of the column `phase`; another number comes from another version of this library.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum PhaseTag {
    InFlight,
    Completed,
    /// The token is spent. The attempts before it count; if there are none, the key is free.
    Withdrawn,
}

impl Stored {
    pub(super) fn read(row: &Row<'_>) -> Result<Self, Error> {
        let tag = row.get(5)?;
        let attempt = row.get(3)?;
        let is_withdrawn = tag == PhaseTag::Withdrawn;
        if attempt == 0 && !is_withdrawn {
            // No run is attempt 0, and damage must not free a key.
            return Err(Error::IntegralValueOutOfRange(3, 0));
        }
        let phase = match tag {
            PhaseTag::InFlight | PhaseTag::Withdrawn => Phase::InFlight {
                lease_until: row.get::<_, Millis>(6)?.time(),
                progress: row.get::<_, Option<Vec<u8>>>(7)?.unwrap_or_default().into(),
            },
            PhaseTag::Completed => Phase::Completed {
                outcome: row.get::<_, Vec<u8>>(7)?.into(),
            },
        };
        let mut record = Record::new(
            RecordId::from_bytes(row.get(0)?),
            Fingerprint::from_bytes(row.get(1)?),
            Token::from_bytes(row.get(2)?),
            attempt,
            row.get::<_, Millis>(4)?.time(),
            phase,
        );
        record.created_at = date(row, 10)?;
        let completed_at = date(row, 11)?;
        // An earlier version that takes an expired record leaves this column unchanged.
        record.completed_at = completed_at.filter(|_| tag == PhaseTag::Completed);
        let (route, label): (Option<String>, Option<String>) = (row.get(12)?, row.get(13)?);
        record.labels = Labels::new(route.as_deref(), label.as_deref());
        let spent = row.get::<_, Option<Vec<u8>>>(8)?.unwrap_or_default();
        let spent = SpentTokens::read(spent).ok_or(Error::InvalidColumnType(
            8,
            "spent".into(),
            Type::Blob,
        ))?;
        Ok(Self {
            record,
            is_withdrawn,
            spent,
            scope: row.get(9)?,
            place: row.get(14)?,
        })
    }

    pub(super) fn is_expired(&self, now: &Now) -> bool {
        self.record.expires_at <= now.judged
    }

    /// Whether the record only remembers spent tokens.
    pub(super) fn is_free(&self) -> bool {
        self.record.attempt == 0
    }

    /// Whether an attempt has been made that has not ended.
    pub(super) fn is_in_flight(&self) -> bool {
        !self.is_free() && matches!(self.record.phase, Phase::InFlight { .. })
    }

    /// Whether an attempt has been made that has not ended and whose lease has lapsed.
    pub(super) fn is_lapsed(&self, now: &Now) -> bool {
        let Phase::InFlight { lease_until, .. } = self.record.phase else {
            return false;
        };
        !self.is_free() && lease_until <= now.leases
    }

    /// Whether a claim by this token takes nothing any more.
    pub(super) fn is_spent(&self, token: &Token) -> bool {
        self.is_withdrawn && self.is_by(token) || self.spent.contains(token)
    }

    /// All spent tokens: what a record keeps when another owner's token replaces its own.
    pub(super) fn spent_tokens(&self) -> SpentTokens {
        if self.is_withdrawn {
            self.spent.with(&self.record.token)
        } else {
            self.spent.clone()
        }
    }

    /// What the run has stored: its progress so far, or its outcome.
    pub(super) fn left(&self) -> &Bytes {
        match &self.record.phase {
            Phase::InFlight { progress, .. } => progress,
            Phase::Completed { outcome } => outcome,
        }
    }

    pub(super) fn is_by(&self, token: &Token) -> bool {
        self.record.token == *token
    }

    /// The record, its lease dated like its other times.
    pub(super) fn into_record(mut self, now: &Now) -> Record {
        if let Phase::InFlight { lease_until, .. } = &mut self.record.phase {
            *lease_until = now.date_of_lease(*lease_until);
        }
        self.record
    }
}

fn date(row: &Row<'_>, column: usize) -> Result<Option<SystemTime>, Error> {
    let date: Option<Millis> = row.get(column)?;
    Ok(date.map(Millis::time))
}

impl ToSql for ScopeId {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>, Error> {
        Ok(i64::from_be_bytes(*self.as_bytes()).into())
    }
}

impl FromSql for ScopeId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Ok(Self::from_bytes(value.as_i64()?.to_be_bytes()))
    }
}

impl ToSql for PhaseTag {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>, Error> {
        Ok(ToSqlOutput::from(match self {
            Self::InFlight => 1,
            Self::Completed => 2,
            Self::Withdrawn => 3,
        }))
    }
}

impl FromSql for PhaseTag {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match value.as_i64()? {
            1 => Ok(Self::InFlight),
            2 => Ok(Self::Completed),
            3 => Ok(Self::Withdrawn),
            other => Err(FromSqlError::OutOfRange(other)),
        }
    }
}
