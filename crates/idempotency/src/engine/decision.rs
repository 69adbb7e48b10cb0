//! What the engine does next, decided from what it has seen.
//!
//! These functions call no store and read no clock, so a model of the protocol can run them as they are.

#![expect(
    missing_docs,
    missing_debug_implementations,
    reason = "public for the model only"
)]

use std::time::SystemTime;

use bytes::Bytes;

use super::{CommitStatus, Persist};
use crate::{
    Fingerprint, Rejection,
    fingerprint::Forms,
    progress::Progress,
    record::{Phase, Record, Token},
    store::{Claim, IfOwner},
};

/// The fingerprints of a request.
#[derive(Clone)]
pub struct Asked {
    /// The form in which the key is claimed.
    pub fingerprint: Fingerprint,
    forms: Forms,
}

impl Asked {
    pub(super) fn new(forms: Forms) -> Self {
        Self {
            fingerprint: forms.current(),
            forms,
        }
    }

    /// The request of a model, which has one form.
    #[must_use]
    pub const fn in_one_form(fingerprint: Fingerprint) -> Self {
        Self {
            fingerprint,
            forms: Forms::only(fingerprint),
        }
    }

    /// Refuses the request if the record with this fingerprint belongs to a different request.
    pub fn same_as(&self, recorded: &Fingerprint) -> Result<(), Rejection> {
        if self.forms.match_stored(recorded) {
            Ok(())
        } else if self.fingerprint.comparable(recorded) {
            Err(Rejection::Reused)
        } else {
            Err(Rejection::Incomparable)
        }
    }
}

/// What follows the store's response to a claim.
pub enum AfterClaim {
    /// The request holds the key, and its work runs.
    Run {
        attempt: u32,
        progress: Bytes,
    },
    /// The same request holds the key, under a fingerprint of another version of the library. Only a claim in that form
    /// waits for the key and takes it over.
    ClaimInForm(Fingerprint),
    /// The previous run was lost. Its record says whether it suspended itself first.
    InspectLost,
    /// The request was carried out before.
    Replay {
        outcome: Bytes,
        expires_at: SystemTime,
    },
    Refuse(Rejection),
}

pub fn after_claim(asked: &Asked, claim: Claim) -> AfterClaim {
    let recorded = match &claim {
        Claim::Won { .. } => None,
        Claim::InFlight { fingerprint }
        | Claim::Unknown { fingerprint }
        | Claim::Completed { fingerprint, .. } => Some(fingerprint),
    };
    if let Some(Err(rejection)) = recorded.map(|recorded| asked.same_as(recorded)) {
        return AfterClaim::Refuse(rejection);
    }
    match claim {
        Claim::Won { attempt, progress } => AfterClaim::Run { attempt, progress },
        Claim::InFlight { fingerprint } if fingerprint == asked.fingerprint => {
            AfterClaim::Refuse(Rejection::InProgress)
        }
        Claim::InFlight { fingerprint } => AfterClaim::ClaimInForm(fingerprint),
        Claim::Unknown { .. } => AfterClaim::InspectLost,
        Claim::Completed {
            outcome,
            expires_at,
            ..
        } => AfterClaim::Replay {
            outcome,
            expires_at,
        },
    }
}

/// Whether a request that may wait does wait after this claim: if a different request holds the key, it is refused at
/// once.
pub(super) fn waits_after(claim: &Claim, claimed_as: &Fingerprint) -> bool {
    matches!(claim, Claim::InFlight { fingerprint } if fingerprint == claimed_as)
}

/// What the run took its key from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Predecessor {
    /// A free key: this is the first attempt.
    None,
    /// A run that crashed or lost its lease.
    Lost,
    /// A run that suspended itself and stored its steps.
    Suspended,
}

pub fn predecessor(attempt: u32, progress: &Progress) -> Predecessor {
    match attempt.checked_sub(1) {
        None | Some(0) => Predecessor::None,
        Some(previous) if progress.is_suspended(previous) => Predecessor::Suspended,
        Some(_) => Predecessor::Lost,
    }
}

/// What a transactional request does about the record that it finds before it runs.
pub enum AfterLook {
    /// There is none, so the run's own transaction will write it.
    RunInTransaction,
    /// A run under a lease left it, such as one of an earlier version of the service. This run also takes a lease, and
    /// its transaction completes that hold instead of writing a new record.
    ClaimLease,
    /// The request was carried out before.
    Replay {
        outcome: Bytes,
        expires_at: SystemTime,
    },
}

pub fn after_look(asked: &Asked, found: Option<Record>) -> Result<AfterLook, Rejection> {
    let Some(record) = found else {
        return Ok(AfterLook::RunInTransaction);
    };
    asked.same_as(&record.fingerprint)?;
    Ok(match record.phase {
        Phase::Completed { outcome } => AfterLook::Replay {
            outcome,
            expires_at: record.expires_at,
        },
        Phase::InFlight { .. } => AfterLook::ClaimLease,
    })
}

/// How a run ends that has no hold in the store.
pub(super) enum TransactionalEnd {
    /// Its response is sent; the record that its transaction wrote lasts until then.
    Send(Option<SystemTime>),
    /// Another run's response counts.
    Superseded,
    /// It committed nothing, so its response is sent only where there is no record: its transaction may have failed on
    /// the rows of an equal run that committed.
    SendIfUnrecorded,
    /// Its response goes with no change. It claims the key first, and is then stored under it.
    ClaimAndStore,
}

pub(super) const fn transactional_end(persist: &Persist) -> TransactionalEnd {
    match persist {
        Persist::AlreadyCommitted(expires_at) => TransactionalEnd::Send(Some(*expires_at)),
        Persist::OutcomeUnknown => TransactionalEnd::Send(None),
        Persist::Superseded => TransactionalEnd::Superseded,
        Persist::Nothing | Persist::Steps(_) | Persist::AfterSteps(_) => {
            TransactionalEnd::SendIfUnrecorded
        }
        Persist::Outcome(_) => TransactionalEnd::ClaimAndStore,
    }
}

/// What the record says of a transaction whose commit was not confirmed. The caller has written to the record before: a
/// commit that is still in progress either waits for that write or fails on it.
pub fn commit_status(own: &Token, record: Record) -> CommitStatus {
    match record.phase {
        Phase::Completed { outcome } if record.token == *own => CommitStatus::Committed {
            outcome,
            expires_at: record.expires_at,
        },
        Phase::Completed { .. } | Phase::InFlight { .. } => CommitStatus::Superseded,
    }
}

/// What a run does when the store does not complete its hold because it does not find the hold to be the run's own.
pub enum AfterRefusedEnd {
    /// The store may have lost the record, as a server that fails over can: the run claims its key again, and retries its
    /// end.
    Reclaim,
    /// It stores nothing. Its response is sent unless another run now owns the key.
    SendUnlessOwned,
}

pub const fn after_refused_end(persist: &Persist) -> AfterRefusedEnd {
    match persist {
        Persist::Outcome(_) | Persist::Steps(_) => AfterRefusedEnd::Reclaim,
        _ => AfterRefusedEnd::SendUnlessOwned,
    }
}

/// Whether another run owns the key, where the store does not find the run's hold.
pub fn owner(own: &Token, found: Option<&Record>) -> IfOwner<()> {
    if found.is_some_and(|record| record.token != *own) {
        IfOwner::NotOwner
    } else {
        IfOwner::Done(())
    }
}

/// What the client of a run that lost its key receives: the owner's response, once there is one. A run that lost its key
/// has stored nothing, and two different responses to one key would contradict each other.
pub fn response_of_the_owner(
    asked: &Asked,
    found: Option<Record>,
) -> Result<(Bytes, SystemTime), Rejection> {
    let record = found.ok_or(Rejection::ResponseUnavailable)?;
    // An operator may have freed the key, and a different request may have taken it.
    asked.same_as(&record.fingerprint)?;
    match record.phase {
        Phase::Completed { outcome } => Ok((outcome, record.expires_at)),
        Phase::InFlight { .. } => Err(Rejection::InProgress),
    }
}
