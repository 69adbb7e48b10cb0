//! How far the wall clock has jumped ahead of the time of the file.

use std::time::{Duration, SystemTime};

/// A jump ahead of the wall clock, or several that were merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leap {
    pub(super) ahead: Duration,
    /// When the last record from before the first jump expires.
    pub(super) from: SystemTime,
    /// When the last record from before the last jump expires.
    pub(super) until: SystemTime,
}

/// The jumps that the file's time has not followed, in the order of their ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Leaps(Vec<Leap>);

/// The maximum number of jumps, so that a service that restarts often has a short list. The two are merged that then
/// wait the shortest time for their end.
const MOST: usize = 32;

impl Leaps {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Leap> {
        self.0.iter()
    }

    pub(super) fn total(&self) -> Duration {
        let aheads = self.0.iter().map(|leap| leap.ahead);
        aheads.fold(Duration::ZERO, Duration::saturating_add)
    }

    pub(super) fn push(&mut self, mut leap: Leap) {
        if let Some(last) = self.0.last() {
            leap.until = leap.until.max(last.until);
        }
        self.0.push(leap);
        if self.0.len() > MOST {
            let waits = |index: &usize| {
                let (one, next) = (&self.0[*index], &self.0[index + 1]);
                next.until.duration_since(one.from).unwrap_or_default()
            };
            let shortest = (0..MOST).min_by_key(waits).unwrap_or_default();
            let one = self.0.remove(shortest);
            let next = &mut self.0[shortest];
            next.ahead = next.ahead.saturating_add(one.ahead);
            next.from = one.from;
        }
    }

    /// The wall clock has gone back by this much, so the latest jumps did not happen. Returns the rest.
    pub(super) fn take_back(&mut self, mut behind: Duration) -> Duration {
        while let Some(last) = self.0.last_mut() {
            if last.ahead > behind {
                last.ahead -= behind;
                return Duration::ZERO;
            }
            behind -= last.ahead;
            self.0.pop();
        }
        behind
    }

    /// Forgets the jumps that have ended at this time, and returns whether there were any.
    pub(super) fn settle(&mut self, now: SystemTime) -> bool {
        let ended = self.0.partition_point(|leap| leap.until <= now);
        self.0.drain(..ended);
        ended > 0
    }
}

impl FromIterator<Leap> for Leaps {
    fn from_iter<T: IntoIterator<Item = Leap>>(leaps: T) -> Self {
        let mut collected = Self::default();
        leaps.into_iter().for_each(|leap| collected.push(leap));
        collected
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn leap(ahead: u64, until: u64) -> Leap {
        let until = UNIX_EPOCH + Duration::from_secs(until);
        Leap {
            ahead: Duration::from_secs(ahead),
            from: until,
            until,
        }
    }

    // proves: clock-leap-forgets-none
    #[test]
    fn a_service_that_restarts_all_the_time_follows_each_leap_in_the_end() {
        const TTL: u64 = 24 * 3600;
        let mut leaps = Leaps::default();
        let mut longest = 0;
        // The service is down for ten seconds of each ten minutes, for a month.
        for wall in (600..30 * TTL).step_by(600) {
            leaps.push(leap(10, wall - 10 + TTL));
            let now = |leaps: &Leaps| UNIX_EPOCH + Duration::from_secs(wall) - leaps.total();
            while leaps.settle(now(&leaps)) {}
            assert!(leaps.0.len() <= MOST);
            longest = longest.max(leaps.total().as_secs());
        }
        // It is down for 1465 seconds in a ttl, including the time by which records live longer.
        assert!(longest < 2 * 1465, "{longest}");
    }

    // proves: clock-leap-forgets-none
    #[test]
    fn a_clock_that_comes_back_takes_back_its_latest_leaps() {
        let mut leaps: Leaps = [leap(100, 10), leap(20, 20), leap(3, 30)]
            .into_iter()
            .collect();
        let left = leaps.take_back(Duration::from_secs(13));
        assert_eq!(left, Duration::ZERO);
        assert_eq!(leaps.0, [leap(100, 10), leap(10, 20)]);
        let left = leaps.take_back(Duration::from_secs(1000));
        assert_eq!(left, Duration::from_secs(890));
        assert_eq!(leaps, Leaps::default());
    }
}
