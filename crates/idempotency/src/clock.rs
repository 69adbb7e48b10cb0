use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// The clock by which a store on this machine decides which leases have lapsed and which records have expired.
///
/// [`Clock::system`] reads the wall clock once and counts on monotonically from there. If the machine's time is set
/// meanwhile, the running process's records live neither shorter nor longer. [`Clock::manual`] moves only when it is
/// advanced, so that a test of an expiry needs no sleep:
///
/// ```
/// use std::time::Duration;
/// use idempotency::Clock;
///
/// let clock = Clock::manual();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(3600));
/// assert_eq!(clock.now(), before + Duration::from_secs(3600));
/// ```
///
/// [`Clock::wall`] is the machine's time of day, for stores whose records outlive the process. The wall clock of a
/// manual clock can be set separately, as if the machine had slept or its time had been set:
///
/// ```
/// # use std::time::Duration;
/// # use idempotency::Clock;
/// let clock = Clock::manual();
/// clock.set_wall(clock.wall() + Duration::from_secs(48 * 3600));
/// clock.advance(Duration::from_secs(1));
/// assert_eq!(clock.wall(), clock.now() + Duration::from_secs(48 * 3600));
/// ```
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System {
        started: SystemTime,
        monotonic: Instant,
    },
    Manual {
        milliseconds: Arc<AtomicU64>,
        /// How far the wall clock is ahead of it.
        wall_ahead: Arc<AtomicI64>,
    },
}

impl Clock {
    /// A clock that starts at the current time of day and counts on monotonically.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System {
            started: SystemTime::now(),
            monotonic: Instant::now(),
        })
    }

    /// A clock that stands still until it is advanced. Clones show the same time.
    #[must_use]
    pub fn manual() -> Self {
        // Any fixed day would do; this one makes dates in failing tests easy to read.
        Self(Source::Manual {
            milliseconds: Arc::new(AtomicU64::new(1_767_225_600_000)),
            wall_ahead: Arc::default(),
        })
    }

    /// The current time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        match &self.0 {
            Source::System { started, monotonic } => *started + monotonic.elapsed(),
            Source::Manual { milliseconds, .. } => {
                UNIX_EPOCH + Duration::from_millis(milliseconds.load(Ordering::SeqCst))
            }
        }
    }

    /// The time of the machine's wall clock. Unlike [`now`](Self::now) it jumps when that clock is set, and it goes on
    /// while the machine sleeps.
    #[must_use]
    pub fn wall(&self) -> SystemTime {
        match &self.0 {
            Source::System { .. } => SystemTime::now(),
            Source::Manual {
                milliseconds,
                wall_ahead,
            } => {
                let ahead = wall_ahead.load(Ordering::SeqCst);
                let wall = milliseconds
                    .load(Ordering::SeqCst)
                    .saturating_add_signed(ahead);
                UNIX_EPOCH + Duration::from_millis(wall)
            }
        }
    }

    /// Sets the wall clock of a manual clock, to the millisecond, and leaves [`now`](Self::now) as it is. Afterwards
    /// [`advance`](Self::advance) moves both together.
    ///
    /// # Panics
    ///
    /// Panics on a system clock, and for a time that does not fit into 63 bits of milliseconds since 1970.
    pub fn set_wall(&self, time: SystemTime) {
        let Source::Manual {
            milliseconds,
            wall_ahead,
        } = &self.0
        else {
            panic!("only the wall clock of a clock made by `Clock::manual()` can be set");
        };
        let wall = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall =
            i64::try_from(wall.as_millis()).expect("the time fits into 63 bits of milliseconds");
        let now = milliseconds.load(Ordering::SeqCst);
        wall_ahead.store(wall.saturating_sub_unsigned(now), Ordering::SeqCst);
    }

    /// Moves a manual clock and its wall clock forward by whole milliseconds.
    ///
    /// # Panics
    ///
    /// Panics on a system clock, which cannot be advanced.
    pub fn advance(&self, by: Duration) {
        let Source::Manual { milliseconds, .. } = &self.0 else {
            panic!("only a clock made by `Clock::manual()` can be advanced");
        };
        let by = u64::try_from(by.as_millis()).expect("the step fits into 64 bits of milliseconds");
        milliseconds.fetch_add(by, Ordering::SeqCst);
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}
