//! How many histories there are, and which.

use std::{env, str::FromStr};

use uuid::Uuid;

/// The histories of one test.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seeds {
    first: u64,
    many: u64,
}

impl Seeds {
    /// So many histories, or `HISTORIES` times as many; or only the one of `HISTORIES_SEED`.
    pub(crate) fn of(many: u64) -> Self {
        match variable("HISTORIES_SEED") {
            Some(first) => Self { first, many: 1 },
            None => Self {
                // Below the numbers that a reader would take for noise.
                first: u64::from(Uuid::new_v4().as_fields().0),
                many: many * variable("HISTORIES").unwrap_or(1),
            },
        }
    }

    pub(crate) fn each(self) -> impl Iterator<Item = u64> {
        self.first..self.first + self.many
    }
}

fn variable<T: FromStr>(name: &str) -> Option<T> {
    let text = env::var(name).ok()?;
    let value = text.parse().ok();
    assert!(value.is_some(), "{name} is a number, and not {text}");
    value
}
