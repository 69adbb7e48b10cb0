//! The time of a file, which a jump of the machine's clock does not move.
//!
//! Dates are those of the wall clock, so that they mean the same after a restart. Whether a record has expired is
//! judged by an earlier time, which does not follow the wall clock when that jumps ahead: because the service was
//! stopped, the machine slept, or its clock was set. Which of these it was cannot be known, and if the clock was set,
//! the records from before have as long to live as ever. So the time of the file stays behind by the jump until those
//! records have expired by it. The dates of later records contain the jump, so the file's time can then follow it.
//!
//! A clock that is behind everything that was written is assumed not to have been set yet: dates continue from the
//! file's time, and records are judged by the clock. If it stays behind for a day, the file follows it again.
//!
//! Leases are shorter and use a third time, which advances only while a service runs. It stands still over a restart:
//! the previous owners are gone, but their requests may not have arrived yet.

use std::{
    mem,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use rusqlite::Connection;

use super::{
    leaps::{Leap, Leaps},
    millis::Millis,
    saved::{self, Saved},
    warn,
};
use crate::Clock;

/// The time at one moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// The time from which records are dated: the later of the clocks.
    pub(super) dates: SystemTime,
    /// The time by which records expire: the earlier of the clocks.
    pub(super) judged: SystemTime,
    /// The time from which leases are granted, and by which they expire.
    pub(super) leases: SystemTime,
}

/// Clones are handles on one timeline.
#[derive(Clone)]
pub(super) struct Timeline {
    clock: Clock,
    /// What the file held when it was opened.
    found: Option<Saved>,
    state: Arc<Mutex<State>>,
}

#[derive(Clone)]
struct State {
    /// A moment by the monotonic clock, and what the other clocks showed then.
    at: SystemTime,
    wall: SystemTime,
    leases: SystemTime,
    /// The jumps of the wall clock that the file's time has not followed yet.
    leaps: Leaps,
    /// Since when, in the time of leases, the wall clock has been behind by more than it had jumped ahead.
    behind_since: Option<SystemTime>,
    /// Counts the changes to the above that do not come from the passage of time.
    revision: u64,
    saved: Option<Stamp>,
    /// Whether the operator was already warned of the jump that the next write will find.
    is_said: bool,
}

/// The part of the state that a write has stored in the file.
#[derive(Clone, Copy)]
pub(super) struct Stamp {
    revision: u64,
    wall: SystemTime,
}

/// How much the wall clock may drift without being set, how long may pass between two notes of the time in the file,
/// and so how long a restart may take before it counts as a jump.
const TOLERANCE: Duration = Duration::from_secs(1);

/// How long a clock must stay behind the file before the file follows it.
const CONFIRMATION_TIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Longer jumps are worth an operator's attention.
const LOUD: Duration = Duration::from_secs(3600);

impl Now {
    /// This end of a lease as a date.
    pub(super) fn date_of_lease(&self, lease_until: SystemTime) -> SystemTime {
        let date = match self.dates.duration_since(self.leases) {
            Ok(ahead) => lease_until.checked_add(ahead),
            Err(behind) => lease_until.checked_sub(behind.duration()),
        };
        date.unwrap_or(UNIX_EPOCH)
    }
}

impl Timeline {
    /// Continues from the time in the file, by the system clock.
    pub(super) fn load(connection: &Connection) -> Result<Self, rusqlite::Error> {
        let timeline = Self::new(Clock::system(), saved::find(connection)?);
        let mut state = timeline.state.lock();
        // Only to warn now of what the first write will find.
        state.clone().follow(&timeline.clock, connection)?;
        state.is_said = true;
        drop(state);
        Ok(timeline)
    }

    /// Continues from the time in the file by this clock.
    pub(super) fn with_clock(&self, clock: Clock) -> Self {
        Self::new(clock, self.found.clone())
    }

    fn new(clock: Clock, found: Option<Saved>) -> Self {
        let (at, wall) = (clock.now(), clock.wall());
        let mut state = State {
            at,
            wall,
            leases: wall,
            leaps: Leaps::default(),
            behind_since: None,
            revision: 1,
            saved: None,
            is_said: false,
        };
        if let Some(saved) = &found {
            // A restart within a second took as long as the clock says. A longer one counts as a jump at the first
            // write.
            let down = wall.duration_since(saved.wall).ok();
            let down = down.filter(|down| *down <= TOLERANCE).unwrap_or_default();
            state.wall = saved.wall + down;
            state.leases = saved.leases + down;
            state.leaps = saved.leaps.clone();
            state.behind_since = saved.behind_since;
        }
        Self {
            clock,
            found,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// The time for a read. A jump that no write has found yet does not count.
    pub(super) fn now(&self) -> Now {
        self.state.lock().now(&self.clock)
    }

    /// The time for a write. Also writes what the next start must know, unless the file holds it already. The caller
    /// calls [`Timeline::saved`] when that is durable.
    pub(super) fn pass(
        &self,
        connection: &Connection,
    ) -> Result<(Now, Option<Stamp>), rusqlite::Error> {
        // A copy, so that readers do not wait for SQLite. Only one thread writes, so no change is lost.
        let mut state = self.state.lock().clone();
        state.follow(&self.clock, connection)?;
        state.settle(&self.clock);
        let stamp = state.save(&self.clock, connection)?;
        let now = state.now(&self.clock);
        *self.state.lock() = state;
        Ok((now, stamp))
    }

    pub(super) fn saved(&self, stamp: Option<Stamp>) {
        if stamp.is_some() {
            self.state.lock().saved = stamp;
        }
    }
}

impl State {
    /// What the wall clock should show by the monotonic one, and the time of leases.
    fn expected(&self, clock: &Clock) -> (SystemTime, SystemTime) {
        let passed = clock.now().duration_since(self.at).unwrap_or_default();
        (self.wall + passed, self.leases + passed)
    }

    fn now(&self, clock: &Clock) -> Now {
        let (expected, leases) = self.expected(clock);
        let wall = clock.wall();
        let judged = wall.min(expected).checked_sub(self.leaps.total());
        Now {
            dates: wall.max(expected),
            judged: judged.unwrap_or(UNIX_EPOCH),
            leases,
        }
    }

    /// Notes how far the wall clock has jumped since the last write.
    fn follow(&mut self, clock: &Clock, connection: &Connection) -> Result<(), rusqlite::Error> {
        let is_said = mem::take(&mut self.is_said);
        let (expected, leases) = self.expected(clock);
        let wall = clock.wall();
        match wall.duration_since(expected) {
            Ok(ahead) if ahead > TOLERANCE => {
                let until = saved::latest_expiry(connection)?.map(Millis::time);
                self.go_on_from(wall, leases, clock);
                // Without unexpired records nothing can be forgotten early.
                if let Some(until) = until {
                    self.leaps.push(Leap {
                        ahead,
                        from: until,
                        until,
                    });
                    let judged = self.now(clock).judged;
                    if let Ok(remaining) = until.duration_since(judged)
                        && ahead > LOUD
                        && !is_said
                    {
                        warn::ahead(connection, expected, wall, wall + remaining)?;
                    }
                }
            }
            Err(behind) if behind.duration() > TOLERANCE => {
                let left = self.leaps.take_back(behind.duration());
                let is_new = self.behind_since.is_none();
                let since = *self.behind_since.get_or_insert(leases);
                let patience = leases.duration_since(since).unwrap_or_default();
                // A clock that has not been set yet will be set. One that stays behind is right, and the time in the
                // file was wrong.
                if left > TOLERANCE && patience < CONFIRMATION_TIME {
                    if is_new || left < behind.duration() {
                        self.go_on_from(wall + left, leases, clock);
                    }
                    if is_new && left > LOUD && !is_said {
                        warn::behind(connection, wall + left, wall)?;
                    }
                    return Ok(());
                }
                self.go_on_from(wall, leases, clock);
            }
            _ if self.behind_since.is_none() => return Ok(()),
            _ => self.revision += 1,
        }
        self.behind_since = None;
        Ok(())
    }

    fn go_on_from(&mut self, wall: SystemTime, leases: SystemTime, clock: &Clock) {
        (self.at, self.wall, self.leases) = (clock.now(), wall, leases);
        self.revision += 1;
    }

    /// Follows the jumps that can no longer end a record early.
    fn settle(&mut self, clock: &Clock) {
        while self.leaps.settle(self.now(clock).judged) {
            self.revision += 1;
        }
    }

    fn save(
        &self,
        clock: &Clock,
        connection: &Connection,
    ) -> Result<Option<Stamp>, rusqlite::Error> {
        let (wall, leases) = self.expected(clock);
        let is_fresh = self.saved.is_some_and(|saved| {
            saved.revision == self.revision
                && wall
                    .duration_since(saved.wall)
                    .is_ok_and(|since| since < TOLERANCE)
        });
        if is_fresh {
            return Ok(None);
        }
        let saved = Saved {
            wall,
            leases,
            leaps: self.leaps.clone(),
            behind_since: self.behind_since,
        };
        saved::save(connection, &saved)?;
        Ok(Some(Stamp {
            revision: self.revision,
            wall,
        }))
    }
}
