//! What a run leaves whose work has come back: the same for handlers and for other work.

use std::mem;

use bytes::Bytes;

use super::{Execution, commit::CommitState};
use crate::engine::{CommitStatus, Persist};

/// How a run stands whose work has come back.
pub(crate) enum Ended {
    /// Its work has not ended it. What the work gave decides what is kept, and then [`Execution::with_steps`].
    Open,
    /// By its own transaction, with this outcome, whatever the work gave afterwards.
    Committed { outcome: Bytes, persist: Persist },
    /// Another response or value stands for the request, or the run's own, and the news of it was lost.
    Superseded,
    /// The run's own transaction was committed or not, and nothing tells. Whether the key's record is in it.
    CommitUnknown { is_shared: bool },
}

impl Execution {
    /// How the run stands, now that its work has come back, in order or by a panic. It can end itself no more.
    pub(crate) async fn ended(&self) -> Ended {
        let Some(protection) = &self.0.protection else {
            return Ended::Open;
        };
        let state = mem::replace(&mut *protection.commit_state.lock(), CommitState::Answered);
        match state {
            CommitState::Open => Ended::Open,
            CommitState::Committed {
                outcome,
                expires_at: Some(expires_at),
            } => Ended::Committed {
                outcome,
                persist: Persist::AlreadyCommitted(expires_at),
            },
            CommitState::Committed {
                outcome,
                expires_at: None,
            } => Ended::Committed {
                outcome: outcome.clone(),
                persist: Persist::Outcome(outcome),
            },
            CommitState::Answered => Ended::Superseded,
            CommitState::Unknown { is_shared } => Ended::CommitUnknown { is_shared },
            // The work dropped the commit midway. Without the record in it, nothing tells what became of it.
            CommitState::Committing { is_shared: false } => {
                Ended::CommitUnknown { is_shared: false }
            }
            CommitState::Committing { is_shared: true } => {
                match protection.resolve_commit().await {
                    Ok(CommitStatus::NotCommitted) => Ended::Open,
                    Ok(CommitStatus::Committed | CommitStatus::Superseded) => Ended::Superseded,
                    Err(_) => Ended::CommitUnknown { is_shared: true },
                }
            }
        }
    }

    /// What a run leaves that has not ended itself, by what its work alone would leave: steps that were done are not done again.
    pub(crate) async fn with_steps(&self, persist: Persist) -> Persist {
        match persist {
            Persist::Nothing => self.persist_after_failure().await,
            Persist::OutcomeUnknown => match self.persist_after_failure().await {
                // What steps that go on will keep has to be kept under the hold.
                Persist::AfterSteps(settled) => Persist::AfterSteps(Box::pin(async {
                    settled.await;
                    Persist::OutcomeUnknown
                })),
                _ => Persist::OutcomeUnknown,
            },
            persist => persist,
        }
    }
}
