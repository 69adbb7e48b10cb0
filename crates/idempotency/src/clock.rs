use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// The clock by which a store on this machine decides what has lapsed and what has expired.
///
/// [`Clock::system`] reads the wall clock once and counts on monotonically from there: when somebody sets
/// the machine's time, records of the running process live neither shorter nor longer. [`Clock::manual`]
/// moves only by hand, so that a test of an expiry needs no sleep:
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
    },
}

impl Clock {
    /// The time of day when this was called, and monotonic time since.
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
        // Any fixed day will do; this one makes dates in failing tests easy to read.
        Self(Source::Manual {
            milliseconds: Arc::new(AtomicU64::new(1_767_225_600_000)),
        })
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        match &self.0 {
            Source::System { started, monotonic } => *started + monotonic.elapsed(),
            Source::Manual { milliseconds } => {
                UNIX_EPOCH + Duration::from_millis(milliseconds.load(Ordering::SeqCst))
            }
        }
    }

    /// Moves a manual clock forward, by whole milliseconds.
    ///
    /// # Panics
    ///
    /// On a system clock, which nobody moves.
    pub fn advance(&self, by: Duration) {
        let Source::Manual { milliseconds } = &self.0 else {
            panic!("only a clock made by `Clock::manual()` can be advanced");
        };
        let by = u64::try_from(by.as_millis()).expect("the step fits 64 bits of milliseconds");
        milliseconds.fetch_add(by, Ordering::SeqCst);
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}
