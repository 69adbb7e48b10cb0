//! Task-local values. Those of tokio are the thread's while a task is polled, and shuttle may let another task go on meanwhile.

use std::{cell::RefCell, error::Error, fmt, future::poll_fn, mem};

use shuttle::thread;

/// As `tokio::task::LocalKey`.
#[derive(Debug)]
pub struct LocalKey<T: 'static>(&'static thread::LocalKey<RefCell<Option<T>>>);

/// The current task has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessError;

/// A value outside of its scope's poll; it changes places with the task's.
struct Swapped<'a, T: 'static> {
    key: &'static LocalKey<T>,
    value: &'a mut Option<T>,
}

impl<T: 'static> LocalKey<T> {
    /// What the macro makes.
    #[must_use]
    pub const fn new(slot: &'static thread::LocalKey<RefCell<Option<T>>>) -> Self {
        Self(slot)
    }

    /// Runs the future with this value.
    pub fn scope<F: Future>(
        &'static self,
        value: T,
        future: F,
    ) -> impl Future<Output = F::Output> + use<F, T> {
        let (mut value, mut future) = (Some(value), Box::pin(future));
        poll_fn(move |context| {
            let _swapped = Swapped::new(self, &mut value);
            future.as_mut().poll(context)
        })
    }

    /// Reads the value.
    ///
    /// # Panics
    ///
    /// Outside of a scope.
    pub fn with<R>(&'static self, read: impl FnOnce(&T) -> R) -> R {
        self.try_with(read).expect("the task has a value")
    }

    /// Reads the value.
    ///
    /// # Errors
    ///
    /// Outside of a scope.
    pub fn try_with<R>(&'static self, read: impl FnOnce(&T) -> R) -> Result<R, AccessError> {
        self.0
            .with(|slot| slot.borrow().as_ref().map(read).ok_or(AccessError))
    }

    fn swap(&'static self, value: &mut Option<T>) {
        self.0
            .with(|slot| mem::swap(&mut *slot.borrow_mut(), value));
    }
}

impl<'a, T: 'static> Swapped<'a, T> {
    fn new(key: &'static LocalKey<T>, value: &'a mut Option<T>) -> Self {
        key.swap(value);
        Self { key, value }
    }
}

impl<T: 'static> Drop for Swapped<'_, T> {
    fn drop(&mut self) {
        self.key.swap(self.value);
    }
}

impl fmt::Display for AccessError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the task has no such value")
    }
}

impl Error for AccessError {}
