//! The time by which a store ends leases and ttls, and how a test lets it pass.

use std::{
    sync::Mutex,
    time::{Duration, SystemTime},
};

use idempotency::Clock;

/// A store's time.
pub(crate) struct Time(Source);

enum Source {
    /// It passes when a test says so, and not otherwise.
    Manual(Clock),
    /// It passes by itself, and a test can send it ahead.
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

    /// What time it is. The servers of these tests go by this machine's clock.
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

    /// Lets nearly this much time pass, and returns what is left of it: as little as a clock can show, or as much as a test
    /// may need by itself where the time does not stand still.
    pub(crate) fn pass_nearly(&self, time: Duration) -> Duration {
        let rest = match &self.0 {
            Source::Manual(_) => Duration::from_millis(1),
            Source::Server { .. } => Duration::from_secs(15),
        };
        self.pass(time - rest);
        rest
    }
}
