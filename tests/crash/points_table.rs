//! What a death at each point comes to.

use std::fmt::Write as _;

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It charges in a step, books and completes its key, and a retry takes over from a lost run.
    TakesOver,
    /// The same, and a retry of a lost run is refused.
    Refuses,
    /// It charges in a step, and its booking is one commit with its key.
    Commits,
    /// Its booking is one commit with its key, and nothing else is stored.
    Transactional,
}

/// Where the process dies, and what there is after the retry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) ending: Ending,
    /// As the service names it; `after-response` is a kill once the client has the response.
    pub(crate) point: &'static str,
    pub(crate) expected: Expected,
    /// The same with keys in the memory of the process, where the retry always runs.
    pub(crate) in_memory: Option<Effects>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) effects: Effects,
    pub(crate) retry: Retry,
}

/// How often the customer was charged, and how many bookings there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Effects {
    pub(crate) charges: usize,
    pub(crate) bookings: usize,
}

/// The retry's response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// 201, of a run.
    Runs,
    /// 201, the stored response.
    Replays,
    /// 409: it is not known what the lost run has done.
    Refused,
}

use Ending::{Commits, Refuses, TakesOver, Transactional};
use Retry::{Refused, Replays, Runs};

pub(crate) const TABLE: [Row; 42] = [
    row(TakesOver, "before-claim", 1, 1, Runs).in_memory(1, 1),
    row(TakesOver, "after-claim", 1, 1, Runs).in_memory(1, 1),
    row(TakesOver, "before-step", 1, 1, Runs).in_memory(1, 1),
    row(TakesOver, "after-step", 2, 1, Runs).in_memory(2, 1),
    row(TakesOver, "before-checkpoint", 2, 1, Runs).in_memory(2, 1),
    row(TakesOver, "after-checkpoint", 1, 1, Runs).in_memory(2, 1),
    row(TakesOver, "before-booking", 1, 1, Runs).in_memory(2, 1),
    row(TakesOver, "after-booking", 1, 2, Runs).in_memory(2, 2),
    row(TakesOver, "before-completion", 1, 2, Runs).in_memory(2, 2),
    row(TakesOver, "after-completion", 1, 1, Replays).in_memory(2, 2),
    row(TakesOver, "before-response", 1, 1, Replays).in_memory(2, 2),
    row(TakesOver, "after-response", 1, 1, Replays).in_memory(2, 2),
    row(Refuses, "before-claim", 1, 1, Runs).in_memory(1, 1),
    row(Refuses, "after-claim", 0, 0, Refused).in_memory(1, 1),
    row(Refuses, "before-step", 0, 0, Refused).in_memory(1, 1),
    row(Refuses, "after-step", 1, 0, Refused).in_memory(2, 1),
    row(Refuses, "before-checkpoint", 1, 0, Refused).in_memory(2, 1),
    row(Refuses, "after-checkpoint", 1, 0, Refused).in_memory(2, 1),
    row(Refuses, "before-booking", 1, 0, Refused).in_memory(2, 1),
    row(Refuses, "after-booking", 1, 1, Refused).in_memory(2, 2),
    row(Refuses, "before-completion", 1, 1, Refused).in_memory(2, 2),
    row(Refuses, "after-completion", 1, 1, Replays).in_memory(2, 2),
    row(Refuses, "before-response", 1, 1, Replays).in_memory(2, 2),
    row(Refuses, "after-response", 1, 1, Replays).in_memory(2, 2),
    row(Commits, "before-claim", 1, 1, Runs),
    row(Commits, "after-claim", 1, 1, Runs),
    row(Commits, "before-step", 1, 1, Runs),
    row(Commits, "after-step", 2, 1, Runs),
    row(Commits, "before-checkpoint", 2, 1, Runs),
    row(Commits, "after-checkpoint", 1, 1, Runs),
    row(Commits, "before-commit", 1, 1, Runs),
    row(Commits, "during-commit", 1, 1, Runs),
    row(Commits, "after-commit", 1, 1, Replays),
    row(Commits, "before-response", 1, 1, Replays),
    row(Commits, "after-response", 1, 1, Replays),
    row(Transactional, "before-look", 0, 1, Runs),
    row(Transactional, "after-look", 0, 1, Runs),
    row(Transactional, "before-commit", 0, 1, Runs),
    row(Transactional, "during-commit", 0, 1, Runs),
    row(Transactional, "after-commit", 0, 1, Replays),
    row(Transactional, "before-response", 0, 1, Replays),
    row(Transactional, "after-response", 0, 1, Replays),
];

const fn row(
    ending: Ending,
    point: &'static str,
    charges: usize,
    bookings: usize,
    retry: Retry,
) -> Row {
    let effects = Effects { charges, bookings };
    Row {
        ending,
        point,
        expected: Expected { effects, retry },
        in_memory: None,
    }
}

impl Row {
    const fn in_memory(self, charges: usize, bookings: usize) -> Self {
        Self {
            in_memory: Some(Effects { charges, bookings }),
            ..self
        }
    }
}

impl Ending {
    /// The route of the service, and the word for it in the table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::TakesOver => "takes-over",
            Self::Refuses => "refuses",
            Self::Commits => "commits",
            Self::Transactional => "transactional",
        }
    }

    /// Whether the bookings are in the database of the keys.
    pub(crate) const fn is_in_the_database(self) -> bool {
        matches!(self, Self::Commits | Self::Transactional)
    }
}

/// The table as README.md has it.
pub(crate) fn in_markdown() -> String {
    let mut table =
        "| Run | Dies | Charges | Bookings | Retry | Charges, memory | Bookings, memory |\n\
                     |---|---|---|---|---|---|---|\n"
            .to_owned();
    for row in TABLE {
        let Effects { charges, bookings } = row.expected.effects;
        let retry = match row.expected.retry {
            Runs => "201",
            Replays => "201, replayed",
            Refused => "409, refused",
        };
        let (name, point) = (row.ending.name(), row.point);
        let memory = row.in_memory.map_or_else(
            || "  |  |".to_owned(),
            |memory| format!(" {} | {} |", memory.charges, memory.bookings),
        );
        writeln!(
            table,
            "| {name} | {point} | {charges} | {bookings} | {retry} |{memory}"
        )
        .expect("a string takes all");
    }
    table
}
