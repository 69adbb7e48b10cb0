//! Tokio's locks, semaphores and channels.

pub use tokio::sync::Mutex;
pub use tokio::sync::OwnedSemaphorePermit;
pub use tokio::sync::Semaphore;
pub use tokio::sync::futures;
pub use tokio::sync::mpsc;

use std::sync::Arc;

use tokio::sync::{
    self as real,
    futures::{Notified, OwnedNotified},
};

use crate::execution::point;

/// As `tokio::sync::Notify`.
#[derive(Debug, Default)]
pub struct Notify(Arc<real::Notify>);

impl Notify {
    /// One without a permit.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A future that the next notification reaches.
    pub fn notified(&self) -> Notified<'_> {
        point();
        self.0.notified()
    }

    /// The same, with a handle of its own.
    pub fn notified_owned(self: Arc<Self>) -> OwnedNotified {
        point();
        Arc::clone(&self.0).notified_owned()
    }

    /// Wakes one who waits, or the next one.
    pub fn notify_one(&self) {
        point();
        self.0.notify_one();
    }

    /// Wakes all who wait.
    pub fn notify_waiters(&self) {
        point();
        self.0.notify_waiters();
    }
}
