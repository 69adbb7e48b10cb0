//! Times as the scripts count them: microseconds since 1970.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The latest time, in the year 2255: numbers in the scripts are exact up to here. A longer ttl ends here.
pub(super) const LATEST: u64 = (1 << 53) - 1;

/// A span, rounded up, so that nothing ends early.
pub(super) fn span(span: Duration) -> u64 {
    u64::try_from(span.as_nanos().div_ceil(1000)).map_or(LATEST, |span| span.min(LATEST))
}

/// The time that a script returned, if it is valid.
pub(super) fn time(microseconds: u64) -> Option<SystemTime> {
    (microseconds <= LATEST).then(|| UNIX_EPOCH + Duration::from_micros(microseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    // proves: store-clock-decides
    #[test]
    fn spans_are_rounded_up() {
        assert_eq!(span(Duration::from_nanos(1_000)), 1);
        assert_eq!(span(Duration::from_nanos(1_001)), 2);
    }

    #[test]
    fn a_ttl_without_an_end_ends_at_the_latest_time() {
        assert_eq!(span(Duration::MAX), LATEST);
        assert!(time(LATEST).is_some());
        assert_eq!(time(LATEST + 1), None);
    }
}
