//! Time that a test moves: [`advance`](crate::execution::advance).

use std::{
    collections::BTreeMap,
    future::poll_fn,
    ops::{Add, Sub},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use error::Elapsed;

use crate::execution::timers;

/// As `tokio::time::Instant`: a time since the execution began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Duration);

/// The current time, and those who sleep.
#[derive(Default)]
pub(crate) struct Timers {
    now: Duration,
    /// How many have ever slept.
    sleepers: u64,
    sleeping: BTreeMap<(Instant, u64), Waker>,
}

/// As `tokio::time::Sleep`.
#[derive(Debug)]
#[must_use = "a sleep is awaited"]
pub struct Sleep {
    until: Instant,
    number: u64,
}

/// Errors of this module.
pub mod error {
    use std::{error::Error, fmt};

    /// As `tokio::time::error::Elapsed`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Elapsed(pub(super) ());

    impl fmt::Display for Elapsed {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("the time is over")
        }
    }

    impl Error for Elapsed {}
}

/// Sleeps for this long.
pub fn sleep(duration: Duration) -> Sleep {
    sleep_until(Instant::now() + duration)
}

/// Sleeps until this time.
pub fn sleep_until(until: Instant) -> Sleep {
    let number = timers(|timers| {
        timers.sleepers += 1;
        timers.sleepers
    });
    Sleep { until, number }
}

/// Gives the future this long.
pub fn timeout<F: IntoFuture>(
    duration: Duration,
    future: F,
) -> impl Future<Output = Result<F::Output, Elapsed>> {
    timeout_at(Instant::now() + duration, future)
}

/// Gives the future time until then.
pub fn timeout_at<F: IntoFuture>(
    deadline: Instant,
    future: F,
) -> impl Future<Output = Result<F::Output, Elapsed>> {
    let (mut sleep, future) = (sleep_until(deadline), future.into_future());
    async move {
        let mut future = pin!(future);
        poll_fn(|context| {
            if let Poll::Ready(output) = future.as_mut().poll(context) {
                return Poll::Ready(Ok(output));
            }
            let elapsed = Pin::new(&mut sleep).poll(context);
            elapsed.map(|()| Err(Elapsed(())))
        })
        .await
    }
}

impl Timers {
    /// Those who slept until a time that has come.
    pub(crate) fn advance(&mut self, by: Duration) -> Vec<Waker> {
        self.now += by;
        let later = (Instant(self.now), u64::MAX);
        let sleeping = self.sleeping.split_off(&later);
        let due = std::mem::replace(&mut self.sleeping, sleeping);
        due.into_values().collect()
    }
}

impl Instant {
    /// The time that the test has come to.
    #[must_use]
    pub fn now() -> Self {
        timers(|timers| Self(timers.now))
    }

    /// How long ago it was.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Self::now() - *self
    }

    /// A time that long before, unless the execution had not begun then.
    #[must_use]
    pub fn checked_sub(&self, earlier: Duration) -> Option<Self> {
        self.0.checked_sub(earlier).map(Self)
    }

    /// How long it was after another time, and nothing if it was before.
    #[must_use]
    pub fn saturating_duration_since(&self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        timers(|timers| {
            let place = (self.until, self.number);
            if Instant(timers.now) >= self.until {
                timers.sleeping.remove(&place);
                return Poll::Ready(());
            }
            timers.sleeping.insert(place, context.waker().clone());
            Poll::Pending
        })
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        timers(|timers| timers.sleeping.remove(&(self.until, self.number)));
    }
}
