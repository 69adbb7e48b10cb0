//! What a fault is, and who has to find it.

/// One fault.
pub(crate) struct Fault {
    /// That of its test.
    pub(crate) name: &'static str,
    /// Under the library's `src`.
    pub(crate) file: &'static str,
    /// A text that the file has once.
    pub(crate) find: &'static str,
    pub(crate) replace: &'static str,
    /// A test that fails with it. Others may do so too.
    pub(crate) found_by: Finder,
}

/// A test of one of the programs.
#[derive(Clone, Copy)]
pub(crate) enum Finder {
    Schedules(&'static str),
    Model(&'static str),
}

impl Finder {
    pub(crate) const fn program(self) -> &'static str {
        match self {
            Self::Schedules(_) => "schedules",
            Self::Model(_) => "model",
        }
    }

    pub(crate) const fn test(self) -> &'static str {
        match self {
            Self::Schedules(test) | Self::Model(test) => test,
        }
    }
}
