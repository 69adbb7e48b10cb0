use std::fmt;

use http::StatusCode;

use super::Interruption;

/// What all trials came to. Its text is a table.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The status of the response when nothing interrupts the request.
    pub status: StatusCode,
    /// How many effects the uninterrupted request has.
    pub effects: usize,
    /// One entry for each interruption and point.
    pub trials: Vec<Interrupted>,
}

/// What one interrupted request came to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Interrupted {
    /// What happened to it.
    pub interruption: Interruption,
    /// Where, such as `after complete`, or the call of the store that failed.
    pub place: String,
    /// How many effects there are in the end.
    pub effects: usize,
    /// The status of each response that the client got, in order. The client sends the request again after a 5xx, and after a response with `Retry-After`.
    pub responses: Vec<StatusCode>,
    /// Whether the last response has the status that an uninterrupted request gets.
    pub is_answered: bool,
}

impl Report {
    /// Asserts that the request has this many effects, interrupted or not.
    ///
    /// # Panics
    ///
    /// If it has more or fewer, with the points where it does.
    #[track_caller]
    pub fn assert_effects(&self, effects: usize) -> &Self {
        assert_eq!(self.effects, effects, "without an interruption");
        self.assert(
            |trial| trial.effects == effects,
            "another number of effects",
        );
        self
    }

    /// Asserts that the client got the response of an uninterrupted request in every trial, by its status.
    ///
    /// # Panics
    ///
    /// If it did not, with the points where it did not.
    #[track_caller]
    pub fn assert_answered(&self) -> &Self {
        self.assert(
            |trial| trial.is_answered,
            "no response like that of an uninterrupted request",
        );
        self
    }

    #[track_caller]
    fn assert(&self, is_right: impl Fn(&Interrupted) -> bool, what: &str) {
        let wrong: Vec<_> = self
            .trials
            .iter()
            .filter(|trial| !is_right(trial))
            .collect();
        let lines: String = wrong.iter().map(|trial| format!("{trial}\n")).collect();
        assert!(
            wrong.is_empty(),
            "{what} in {} of {} trials:\n{lines}",
            wrong.len(),
            self.trials.len()
        );
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            formatter,
            "uninterrupted: {} effects, {}",
            self.effects, self.status
        )?;
        self.trials
            .iter()
            .try_for_each(|trial| writeln!(formatter, "{trial}"))
    }
}

impl fmt::Display for Interrupted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            interruption,
            place,
            effects,
            ..
        } = self;
        write!(formatter, "{interruption}, {place}: {effects} effects, ")?;
        let responses: Vec<_> = self.responses.iter().map(StatusCode::as_str).collect();
        let end = if self.is_answered {
            ""
        } else {
            ", and none like the uninterrupted request's"
        };
        write!(formatter, "responses {}{end}", responses.join(" "))
    }
}
