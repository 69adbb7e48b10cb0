//! The time by which a store ends leases and ttls, and how a test lets it pass.

use std::{
    sync::Mutex,
    time::{Duration, SystemTime},
};

use idempotency::Clock;

/// A store's time.
pub(crate) struct Time(Source);

enum Source {
    /// It passes only when a test says so.
    Manual(Clock),
    /// It passes by itself, and a test can move it forward.
    Server {
        send: Box<dyn Fn(Duration) + Send + Sync>,
        ahead: Mutex<Duration>,
    },
}

impl Time {
    pub(crate) const fn by_hand(clock: Clock) -> Self {
        Self(Source::Manual(clock))
    }

    pub(crate) const fn of_a_server(send: Box<dyn Fn(Duration) + Send + Sync>) -> Self {
        let ahead = Mutex::new(Duration::ZERO);
        Self(Source::Server { send, ahead })
    }

    /// The current time. The servers of these tests use this machine's clock.
    pub(crate) fn now(&self) -> SystemTime {
        match &self.0 {
            Source::Manual(clock) => clock.now(),
            Source::Server { ahead, .. } => SystemTime::now() + *ahead.lock().expect("a lock"),
        }
    }

    /// Lets this much time pass.
    pub(crate) fn pass(&self, time: Duration) {
        match &self.0 {
            Source::Manual(clock) => clock.advance(time),
            Source::Server { send, ahead } => {
                send(time);
                *ahead.lock().expect("a lock") += time;
            }
        }
    }

    /// Lets nearly this much time pass, and returns the rest: a clock's smallest unit, or as much as a slow
    /// test may take where time passes by itself.
    pub(crate) fn pass_nearly(&self, time: Duration) -> Duration {
        let rest = match &self.0 {
            Source::Manual(_) => Duration::from_millis(1),
            Source::Server { .. } => Duration::from_secs(15),
        };
        self.pass(time - rest);
        rest
    }
}
