//! What an operator does with a record.

use std::time::SystemTime;

use super::{Entry, Moment, State, Transition};
use crate::{
    labels::Labels,
    record::Token,
    store::{IfOwner, Resolution, SPENT_FOR},
};

impl Entry {
    /// Ends a hold, or changes a completed record, if `seen` is still its token; see [`Store::resolve`](crate::Store::resolve).
    ///
    /// `fresh` is a [random](Token::random) token. If the hold is completed, it becomes that of the record, so that the owner that was
    /// given up can complete nothing any more, not even "again".
    pub fn resolve(
        &mut self,
        seen: &Token,
        resolution: Resolution,
        fresh: Token,
        now: SystemTime,
    ) -> Transition<IfOwner<()>> {
        let now = Moment::from(now);
        if self.has_expired(now) {
            return Transition::unchanged(IfOwner::NotOwner);
        }
        let Some(run) = self.run.as_mut().filter(|run| run.token == *seen) else {
            return Transition::unchanged(IfOwner::NotOwner);
        };
        // A withdrawn take-over is a hold too: the previous run is as lost as before.
        let is_completed = matches!(run.state, State::Completed { .. });
        match resolution {
            // The token is spent: a claim or a completion by that run may be on its way yet.
            Resolution::Release if !is_completed => {
                self.release_token(seen, now.after(SPENT_FOR));
                Transition::ended(IfOwner::Done(()))
            }
            Resolution::Forget if is_completed => {
                self.release_token(seen, now.after(SPENT_FOR));
                Transition::ended(IfOwner::Done(()))
            }
            Resolution::Complete { outcome, ttl } if !is_completed => {
                self.complete_as(fresh, outcome, now, ttl);
                Transition::ended(IfOwner::Done(()))
            }
            Resolution::Replace { outcome } if is_completed => {
                run.state.replace(outcome);
                Transition::changed(IfOwner::Done(()))
            }
            Resolution::Erase { outcome } if is_completed => {
                run.state.replace(outcome);
                run.labels = Labels::new(run.labels.route(), None);
                Transition::changed(IfOwner::Done(()))
            }
            _ => Transition::unchanged(IfOwner::NotOwner),
        }
    }
}
