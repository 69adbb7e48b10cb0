use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{
    Error,
    types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef},
};

/// A time as the tables hold it: whole milliseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(super) struct Millis(i64);

/// The end of the year 9999. A longer ttl ends here.
const LATEST: i64 = 253_402_300_799_999;

impl Millis {
    pub(super) const LATEST: Self = Self(LATEST);

    /// This moment, rounded down: a time in the table has come exactly if it is not later.
    pub(super) fn at(now: SystemTime) -> Self {
        Self::capped(since_1970(now).as_millis())
    }

    /// This much later, rounded up, so that nothing ends early.
    pub(super) fn after(now: SystemTime, lives: Duration) -> Self {
        let nanoseconds = since_1970(now).saturating_add(lives).as_nanos();
        Self::capped(nanoseconds.div_ceil(1_000_000))
    }

    /// This many milliseconds since 1970.
    pub(super) fn since_1970(milliseconds: u64) -> Self {
        Self::capped(milliseconds.into())
    }

    pub(super) fn get(self) -> u64 {
        self.0.unsigned_abs()
    }

    pub(super) fn time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.0.unsigned_abs())
    }

    fn capped(milliseconds: u128) -> Self {
        Self(i64::try_from(milliseconds).map_or(LATEST, |milliseconds| milliseconds.min(LATEST)))
    }
}

/// A clock that shows a time before 1970 has not been set.
fn since_1970(now: SystemTime) -> Duration {
    now.duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl ToSql for Millis {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>, Error> {
        self.0.to_sql()
    }
}

impl FromSql for Millis {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let found = value.as_i64()?;
        match found {
            0..=LATEST => Ok(Self(found)),
            _ => Err(FromSqlError::OutOfRange(found)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NANOSECOND: Duration = Duration::from_nanos(1);
    const MILLISECOND: Duration = Duration::from_millis(1);

    // proves: store-clock-decides
    #[test]
    fn what_is_to_come_is_rounded_up_and_the_present_down() {
        let now = UNIX_EPOCH + 5 * MILLISECOND + NANOSECOND;
        assert_eq!(Millis::at(now).time(), UNIX_EPOCH + 5 * MILLISECOND);
        assert_eq!(
            Millis::after(now, MILLISECOND).time(),
            UNIX_EPOCH + 7 * MILLISECOND
        );
        assert_eq!(
            Millis::after(now, MILLISECOND - NANOSECOND).time(),
            UNIX_EPOCH + 6 * MILLISECOND
        );
    }

    #[test]
    fn a_ttl_without_an_end_ends_at_the_latest_time() {
        let latest = Millis::after(UNIX_EPOCH, Duration::MAX);
        assert_eq!(latest.0, LATEST);
        assert_eq!(Millis::after(latest.time(), MILLISECOND).0, LATEST);
    }
}
