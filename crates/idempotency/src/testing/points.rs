//! Where a request is, as its process's store sees it.

use parking_lot::Mutex;

use super::Interruption;

/// Counts the calls of one process's store, fails the one that a trial has chosen, and knows where the request waits.
#[derive(Debug, Default)]
pub(super) struct Points(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    calls: usize,
    /// The failure of one call, by its number.
    failure: Option<(usize, Interruption)>,
    /// What has failed, once it has.
    failed: Option<&'static str>,
    /// The last point that a call has reached.
    last: Option<String>,
    /// Whether it was reached since the request was last polled.
    is_new: bool,
}

impl Points {
    pub(super) fn failing(call: usize, failure: Interruption) -> Self {
        let failure = Some((call, failure));
        Self(Mutex::new(State {
            failure,
            ..State::default()
        }))
    }

    /// Counts a call, and says how it fails, if it does.
    pub(super) fn call(&self, name: &'static str) -> Option<Interruption> {
        let mut state = self.0.lock();
        let call = state.calls;
        state.calls += 1;
        let (_, failure) = state.failure.filter(|(number, _)| *number == call)?;
        state.failed = Some(name);
        Some(failure)
    }

    pub(super) fn reach(&self, point: String) {
        let mut state = self.0.lock();
        (state.last, state.is_new) = (Some(point), true);
    }

    /// Where the request waits, now that it has been polled.
    pub(super) fn place(&self) -> String {
        let mut state = self.0.lock();
        let is_new = std::mem::take(&mut state.is_new);
        match &state.last {
            Some(last) if is_new => last.clone(),
            Some(last) => format!("an await later than {last}"),
            None => "an await before the first call of the store".to_owned(),
        }
    }

    /// The call that was made to fail.
    pub(super) fn failed(&self) -> Option<&'static str> {
        self.0.lock().failed
    }

    pub(super) fn calls(&self) -> usize {
        self.0.lock().calls
    }
}
