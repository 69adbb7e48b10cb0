//! The right to run, and the run itself.

use std::sync::Arc;

use super::{
    Ending, Finished, Idempotency, Operation, claim, running::Running, running_keys::Visit,
    runs::Ticket, transactional,
};
#[cfg(feature = "axum")]
use crate::{Execution, store::transaction::Entry};
use crate::{Fenced, Hold, Refusal, progress::Progress};

/// The right to run, with all that is needed for it.
pub(crate) struct Won<'a> {
    pub(super) idempotency: &'a Idempotency,
    pub(super) operation: Operation,
    /// Claimed already if there is an attempt; otherwise for the transaction that will write it.
    pub(super) hold: Hold,
    pub(super) attempt: Option<u32>,
    #[cfg_attr(
        not(feature = "axum"),
        expect(dead_code, reason = "only handlers have steps")
    )]
    pub(super) progress: Progress,
    /// In transactional mode, the key's place among those that run in this process.
    pub(super) visit: Option<Visit>,
    pub(super) ticket: Ticket,
}

impl Won<'_> {
    /// Runs the work, and stores what it leaves.
    ///
    /// Nobody who drops this future stops it: the work would go on in a task of its own.
    pub(crate) async fn run<R, W>(self, work: W) -> Result<Finished<R>, Refusal>
    where
        R: Send + 'static,
        W: Future<Output = Ending<R>> + Send + 'static,
    {
        let Self {
            idempotency,
            operation,
            hold,
            attempt,
            visit,
            mut ticket,
            ..
        } = self;
        let store = Arc::clone(&idempotency.0.store);
        let fingerprint = operation.fingerprint;
        let run = async move {
            if attempt.is_none() {
                let ending = work.await;
                let finished =
                    transactional::finish(store, hold, fingerprint, ending, ticket).await;
                drop(visit);
                return finished;
            }
            ticket.hold(hold.clone()).await;
            let ending = work.await;
            let finished = claim::finish(store, hold, ending, ticket).await;
            drop(visit);
            finished
        };
        match Running::new(run).await {
            Ok(Fenced::Done(executed)) => Ok(Finished::Executed(executed)),
            Ok(Fenced::Lost) => {
                let replay = Box::pin(idempotency.answer_of_the_owner(operation)).await?;
                Ok(Finished::Replayed(replay))
            }
            Err(_) => Err(Refusal::Panicked),
        }
    }

    /// What the work can ask about itself, and do.
    #[cfg(feature = "axum")]
    pub(crate) fn execution(&mut self) -> Execution {
        let entry = Entry {
            store: Arc::clone(&self.idempotency.0.store),
            hold: self.hold.clone(),
            fingerprint: self.operation.fingerprint,
            is_held: self.attempt.is_some(),
        };
        Execution::protected(
            self.idempotency.clone(),
            entry,
            self.attempt.unwrap_or(1),
            std::mem::take(&mut self.progress),
            self.visit.is_some(),
        )
    }
}
