//! The runtime: all tasks of an execution.

use crate::task::{self, JoinHandle};

/// As `tokio::runtime::Handle`.
#[derive(Clone, Debug)]
pub struct Handle(());

/// As `tokio::runtime::TryCurrentError`, which there never is.
#[derive(Debug)]
pub struct TryCurrentError(());

/// As `tokio::runtime::Id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id(());

impl Handle {
    /// The only runtime there is.
    #[must_use]
    pub const fn current() -> Self {
        Self(())
    }

    /// The only runtime there is, everywhere.
    ///
    /// # Errors
    ///
    /// Never.
    pub const fn try_current() -> Result<Self, TryCurrentError> {
        Ok(Self(()))
    }

    /// The id of the only runtime there is.
    #[must_use]
    pub const fn id(&self) -> Id {
        Id(())
    }

    /// Spawns a task.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        task::spawn(future)
    }
}
