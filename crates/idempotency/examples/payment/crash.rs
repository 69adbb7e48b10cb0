//! Deaths on order. This is the example's own: no real service has anything like it.

use std::{env, process};

/// Where the booking service dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// The provider has charged, and the step's result is not kept yet.
    InStep,
    /// The step's result is kept, and the booking not written yet.
    AfterStep,
    Nowhere,
}

/// The environment variable by which the story tells the service where to die.
pub(crate) const VARIABLE: &str = "PAYMENT_EXAMPLE_CRASH";

impl Crash {
    pub(crate) fn from_environment() -> Self {
        let word = env::var(VARIABLE).unwrap_or_default();
        [Self::InStep, Self::AfterStep]
            .into_iter()
            .find(|crash| crash.word() == word)
            .unwrap_or(Self::Nowhere)
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::InStep => "in-step",
            Self::AfterStep => "after-step",
            Self::Nowhere => "nowhere",
        }
    }

    /// Ends the process on the spot, as `kill -9` would, if it is here that it shall die.
    pub(crate) fn here(self, here: Self) {
        if self == here {
            process::abort();
        }
    }
}
