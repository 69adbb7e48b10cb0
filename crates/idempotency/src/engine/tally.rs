//! Reports each request once: in the metrics, in its span, and to a middleware that requests it.

use std::{mem, thread};

use tracing::{Span, field};

#[cfg(feature = "axum")]
use super::Observation;
use super::{Idempotency, Persist, RequestOutcome, metrics};
use crate::store::RecordId;

/// One request, which is counted when this is dropped, wherever that is: a client that leaves takes the request's future with it, and
/// a run that goes on without its client is counted at its own end.
pub(crate) struct Tally {
    span: Span,
    #[cfg(feature = "axum")]
    observation: Option<Observation>,
    /// The first that is noted stays: what a run has come to is not changed by what its client is told of it.
    outcome: Option<RequestOutcome>,
    counts: bool,
}

impl Tally {
    /// A request that has reached this engine, with a span of its own.
    pub(crate) fn start(idempotency: &Idempotency) -> Self {
        let span = tracing::debug_span!(
            target: "idempotency",
            "idempotency",
            idempotency.store = idempotency.store().name(),
            idempotency.record = field::Empty,
            idempotency.outcome = field::Empty,
        );
        let mut tally = Self::silent();
        tally.span = span;
        tally.counts = true;
        tally
    }

    /// A request that is not reported.
    pub(crate) const fn silent() -> Self {
        Self {
            span: Span::none(),
            #[cfg(feature = "axum")]
            observation: None,
            outcome: None,
            counts: false,
        }
    }

    /// Tells this observation too.
    #[cfg(feature = "axum")]
    pub(crate) fn observed_by(mut self, observation: Option<Observation>) -> Self {
        self.observation = observation;
        self
    }

    /// In which everything happens that is done for the request.
    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    /// Names the record: before the claim, and again once it is known under which secret the key has its record.
    pub(crate) fn record(&self, record: RecordId) {
        self.span
            .record("idempotency.record", field::display(record));
        #[cfg(feature = "axum")]
        if let Some(observation) = &self.observation {
            observation.note_record(record);
        }
    }

    pub(crate) fn note(&mut self, outcome: RequestOutcome) {
        self.outcome.get_or_insert(outcome);
    }

    /// The tally for the run, which counts the request from here on.
    pub(super) fn hand_over(&mut self) -> Self {
        mem::replace(self, Self::silent())
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        if !self.counts {
            return;
        }
        let outcome = self.outcome.unwrap_or(if thread::panicking() {
            RequestOutcome::Panicked
        } else {
            RequestOutcome::Abandoned
        });
        self.span.record("idempotency.outcome", outcome.name());
        #[cfg(feature = "axum")]
        if let Some(observation) = &self.observation {
            observation.note_outcome(outcome);
        }
        metrics::request(outcome);
    }
}

/// What a run comes to that keeps its key until its end, if the store keeps what it leaves.
pub(super) const fn of_run(persist: &Persist) -> RequestOutcome {
    match persist {
        Persist::Outcome(_) | Persist::AlreadyCommitted(_) => RequestOutcome::Executed,
        Persist::Nothing => RequestOutcome::Released,
        Persist::Steps(_) | Persist::AfterSteps(_) => RequestOutcome::Suspended,
        Persist::Superseded => RequestOutcome::Lost,
        Persist::OutcomeUnknown => RequestOutcome::EffectUnknown,
    }
}
