//! Firestore's time, as far as this process can tell without asking.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use gcloud_sdk::prost_types::Timestamp;
use parking_lot::Mutex;

/// The latest time in a response of Firestore, and the time that has passed since.
///
/// It is behind the true time by what that response took to arrive, and never ahead of it. This machine's wall clock is
/// not involved.
#[derive(Clone, Default)]
pub(super) struct ServerClock(Arc<Mutex<Option<Seen>>>);

#[derive(Clone, Copy)]
struct Seen {
    time: SystemTime,
    at: Instant,
}

impl ServerClock {
    /// Notes the time in a response, and returns it if there is one.
    pub(super) fn observe(&self, time: Option<Timestamp>) -> Option<SystemTime> {
        let time = SystemTime::try_from(time?).ok()?;
        let at = Instant::now();
        let mut seen = self.0.lock();
        if seen.is_none_or(|seen| seen.time_at(at) < time) {
            *seen = Some(Seen { time, at });
        }
        Some(time)
    }

    /// The time, or the Unix epoch before the first response.
    pub(super) fn now(&self) -> SystemTime {
        let seen = *self.0.lock();
        seen.map_or(SystemTime::UNIX_EPOCH, |seen| seen.time_at(Instant::now()))
    }
}

impl Seen {
    fn time_at(&self, at: Instant) -> SystemTime {
        self.time + at.saturating_duration_since(self.at)
    }
}
