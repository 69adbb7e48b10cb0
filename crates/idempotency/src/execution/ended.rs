//! What a run persists once its work has returned: the same for handlers and for other work.

use std::mem;

use bytes::Bytes;

use super::{Execution, commit::CommitState};
use crate::engine::{CommitStatus, Persist};

/// How far a run has ended itself when its work returns.
pub(crate) enum Ended {
    /// The work did not end the run. What it returned decides what is stored, and then [`Execution::with_steps`].
    Open,
    /// Its own transaction ended it with this outcome, whatever the work returned afterwards.
    Committed { outcome: Bytes, persist: Persist },
    /// A response or value is stored for the request: another run's, or the run's own whose confirmation was lost.
    Superseded,
    /// The run's own transaction may have committed, and this cannot be determined. `is_shared` says whether it carries
    /// the key's record.
    CommitUnknown { is_shared: bool },
}

impl Execution {
    /// The state of the run, now that its work has returned or panicked. The run cannot end itself any more.
    pub(crate) async fn ended(&self) -> Ended {
        match self.close() {
            Some(ended) => ended,
            None => self.resolved().await,
        }
    }

    /// The same without waiting; `None` if the work dropped a commit midway that carries the record, whose fate has to be
    /// [resolved](Self::resolved).
    pub(crate) fn close(&self) -> Option<Ended> {
        let Some(protection) = &self.0.protection else {
            return Some(Ended::Open);
        };
        let state = mem::replace(
            &mut *protection.commit_state.lock(),
            CommitState::Superseded,
        );
        Some(match state {
            CommitState::Open => Ended::Open,
            CommitState::Committed {
                outcome,
                expires_at: Some(expires_at),
            } => Ended::Committed {
                outcome: outcome.bytes,
                persist: Persist::AlreadyCommitted(expires_at),
            },
            CommitState::Committed {
                outcome,
                expires_at: None,
            } => Ended::Committed {
                outcome: outcome.bytes.clone(),
                persist: Persist::Outcome(outcome),
            },
            CommitState::Superseded => Ended::Superseded,
            CommitState::Unknown { is_shared } => Ended::CommitUnknown { is_shared },
            // The work dropped the commit midway. If the transaction does not carry the record, its fate cannot be
            // determined.
            CommitState::Committing { is_shared: false } => {
                Ended::CommitUnknown { is_shared: false }
            }
            CommitState::Committing { is_shared: true } => return None,
        })
    }

    /// What the commit has come to that the work dropped midway.
    pub(crate) async fn resolved(&self) -> Ended {
        let Some(protection) = &self.0.protection else {
            return Ended::Open;
        };
        match protection.resolve_commit().await {
            Ok(CommitStatus::NotCommitted) => Ended::Open,
            Ok(CommitStatus::Committed { .. } | CommitStatus::Superseded) => Ended::Superseded,
            Err(_) => Ended::CommitUnknown { is_shared: true },
        }
    }

    /// What a run persists that did not end itself, given what its work alone would persist: completed steps are not
    /// repeated.
    pub(crate) async fn with_steps(&self, persist: Persist) -> Persist {
        match persist {
            Persist::Nothing => self.persist_after_failure().await,
            Persist::OutcomeUnknown => match self.persist_after_failure().await {
                // Results of steps that are still running have to be stored under the hold.
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
