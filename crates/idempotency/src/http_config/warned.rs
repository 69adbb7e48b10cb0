//! Warnings that are logged once.

use std::sync::atomic::{AtomicBool, Ordering};

/// Which warnings have been logged.
#[derive(Debug, Default)]
pub(crate) struct Warned {
    pub(crate) cookies: Once,
    pub(crate) look_alike: Once,
    pub(crate) inner_cors: Once,
}

/// One warning.
#[derive(Debug, Default)]
pub(crate) struct Once(AtomicBool);

impl Once {
    /// True for the first caller only.
    pub(crate) fn is_first(&self) -> bool {
        !self.0.swap(true, Ordering::Relaxed)
    }
}
