//! The points of a request at which the process can end.

use std::process;

use clap::ValueEnum;

/// A look is what a transactional run does in place of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Point {
    BeforeClaim,
    AfterClaim,
    BeforeLook,
    AfterLook,
    BeforeStep,
    AfterStep,
    BeforeCheckpoint,
    AfterCheckpoint,
    BeforeBooking,
    AfterBooking,
    BeforeCommit,
    /// The rows are written, and the transaction is open.
    DuringCommit,
    AfterCommit,
    BeforeCompletion,
    AfterCompletion,
    BeforeResponse,
}

/// Where this process ends, if it is to end by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Death(pub(crate) Option<Point>);

impl Death {
    /// Ends the process at once, with everything that it does, if it is to end here.
    pub(crate) fn at(self, point: Point) {
        if self.0 == Some(point) {
            process::abort();
        }
    }
}
