use std::fmt;

use clap::ValueEnum;

/// What the holder of a token may do. Each role includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Role {
    /// Reads the bookings of its subject.
    Viewer,
    /// Makes, changes and removes bookings of its subject.
    Caller,
    /// Reads, changes and removes the bookings of all subjects.
    Operator,
}

impl Role {
    /// The role with this name.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Viewer, Self::Caller, Self::Operator]
            .into_iter()
            .find(|role| role.name() == name)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Caller => "caller",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
