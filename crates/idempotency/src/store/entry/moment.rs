//! A point in time in eight bytes.

use std::{
    num::NonZeroU64,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A time to the nanosecond, between the years 1678 and 2554. Others become the nearest of these, of which the last never comes.
///
/// A store in memory has several of them for each key, and a [`SystemTime`] takes twice as much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::store) struct Moment(NonZeroU64);

/// 1970, so that earlier times have a place too.
const EPOCH: u64 = 1 << 63;

impl Moment {
    /// Whether it has come by then. A time beyond the last one is never known to have come, so that a key stays taken.
    pub(in crate::store) fn has_come(self, now: Self) -> bool {
        self.0 != NonZeroU64::MAX && self <= now
    }

    /// The time after such a span, of which at most a century counts.
    pub(in crate::store) fn after(self, span: Duration) -> Self {
        const CENTURY: u64 = 100 * 365 * 86_400 * NANOSECONDS;
        Self(self.0.saturating_add(nanoseconds(span).min(CENTURY)))
    }
}

impl From<SystemTime> for Moment {
    fn from(time: SystemTime) -> Self {
        let since_start = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => EPOCH.saturating_add(nanoseconds(after)),
            Err(before) => EPOCH.saturating_sub(nanoseconds(before.duration())),
        };
        Self(NonZeroU64::new(since_start).unwrap_or(NonZeroU64::MIN))
    }
}

impl From<Moment> for SystemTime {
    fn from(Moment(since_start): Moment) -> Self {
        match since_start.get().checked_sub(EPOCH) {
            Some(after) => UNIX_EPOCH + Duration::from_nanos(after),
            None => UNIX_EPOCH - Duration::from_nanos(EPOCH - since_start.get()),
        }
    }
}

/// Those of a second.
const NANOSECONDS: u64 = 1_000_000_000;

fn nanoseconds(span: Duration) -> u64 {
    let seconds = span.as_secs().saturating_mul(NANOSECONDS);
    seconds.saturating_add(u64::from(span.subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_comes_back_as_it_was() {
        let at = |nanoseconds| UNIX_EPOCH + Duration::from_nanos(nanoseconds);
        let before = UNIX_EPOCH - Duration::new(86_400, 1);
        for time in [before, UNIX_EPOCH, at(1), at(1_790_000_000_123_456_789)] {
            assert_eq!(SystemTime::from(Moment::from(time)), time);
        }
        assert!(Moment::from(before) < Moment::from(UNIX_EPOCH));
    }

    #[test]
    fn a_time_out_of_range_becomes_the_last_of_the_range() {
        let far = UNIX_EPOCH + Duration::from_secs(1 << 40);
        assert!(Moment::from(far) > Moment::from(SystemTime::now()));
        assert!(SystemTime::from(Moment::from(far)) < far);
        assert!(!Moment::from(far).has_come(far.into()));
    }

    #[test]
    fn a_span_of_more_than_a_century_is_one() {
        let now = Moment::from(SystemTime::now());
        let century = Duration::from_secs(100 * 365 * 86_400);
        assert_eq!(now.after(Duration::MAX), now.after(century));
        assert!(now.after(century) > now.after(century - Duration::from_nanos(1)));
    }
}
