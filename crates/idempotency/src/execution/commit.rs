//! How a run ends itself, by a transaction of its own.

use std::{error::Error, fmt, mem, time::SystemTime};

use bytes::Bytes;

use super::{Execution, Protection};
use crate::{
    Fenced, Idempotency, StoreError, Transaction,
    engine::{MAX_EXECUTION, Standing},
    log_text::Causes,
    store::transaction::{self, CommitFailure, Committed, Entry},
};

/// Why [`Execution::commit`] did not commit.
///
/// Whatever a handler answers with it, the client gets the right thing: the answer that stands, where there is one.
#[derive(Debug)]
#[non_exhaustive]
pub enum CommitError {
    /// The request has its answer already, which the client gets in place of this run's: from a run that was faster, or
    /// that took the key over. This transaction was rolled back; or it is this one's, and only the news of it was lost.
    Answered,
    /// Nothing of the transaction is kept, for this reason.
    Failed(Box<dyn Error + Send + Sync>),
    /// The database does not say whether it was committed. The client is told to ask again with the same key.
    Unknown(Box<dyn Error + Send + Sync>),
    /// The program is wrong, and this call commits nothing. The text says what to change.
    Misused(&'static str),
}

/// How far a run has ended itself.
pub(super) enum Ending {
    /// Not yet.
    Open,
    /// A transaction is being committed, or its future was dropped meanwhile. Whether it carries the record.
    Committing {
        is_shared: bool,
    },
    /// With its record, which is kept until then; or without one, so that the outcome is still to be stored.
    Committed {
        outcome: Bytes,
        expires_at: Option<SystemTime>,
    },
    /// Somebody's answer is kept, perhaps its own.
    Answered,
    Unknown {
        is_shared: bool,
    },
}

/// How a run has ended itself, once its handler is through.
pub(crate) enum Ended {
    /// It has not: the handler's answer says all.
    Open,
    Committed {
        outcome: Bytes,
        expires_at: Option<SystemTime>,
    },
    Answered,
    Unknown {
        /// Whether the key's record is in the same transaction.
        is_shared: bool,
    },
}

impl Execution {
    /// Commits the transaction with the key's record, which keeps what `ending` makes of what the transaction gives.
    pub(crate) async fn end_with<T: Transaction>(
        &self,
        transaction: T,
        ending: transaction::Ending<T::Value>,
    ) -> Result<(), CommitError> {
        let Some(protection) = &self.0.protection else {
            committed(transaction.commit(None, ending).await?)?;
            return Ok(());
        };
        let is_shared = transaction.shares(protection.entry.store.as_ref());
        protection.start(is_shared)?;
        let ended = protection.commit(transaction, is_shared, ending).await;
        *protection.ending.lock() = match &ended {
            Ok(committed) => Ending::Committed {
                outcome: committed.outcome.clone(),
                expires_at: committed.expires_at,
            },
            Err(CommitError::Answered) => Ending::Answered,
            Err(CommitError::Unknown(_)) => Ending::Unknown { is_shared },
            Err(CommitError::Failed(_) | CommitError::Misused(_)) => Ending::Open,
        };
        ended.map(drop)
    }

    /// Whether the run's own transaction carries its record.
    pub(crate) fn is_transactional(&self) -> bool {
        let protection = self.0.protection.as_ref();
        protection.is_some_and(|protection| protection.is_transactional)
    }

    /// The engine, if the run has a key.
    pub(crate) fn engine(&self) -> Option<&Idempotency> {
        let protection = self.0.protection.as_ref();
        protection.map(|protection| &protection.idempotency)
    }

    /// How the run stands, now that its handler is through.
    pub(crate) async fn ended(&self) -> Ended {
        let Some(protection) = &self.0.protection else {
            return Ended::Open;
        };
        let ending = mem::replace(&mut *protection.ending.lock(), Ending::Answered);
        match ending {
            Ending::Open => Ended::Open,
            Ending::Committed {
                outcome,
                expires_at,
            } => Ended::Committed {
                outcome,
                expires_at,
            },
            Ending::Answered => Ended::Answered,
            // What it had sent may still arrive, and no record will tell.
            Ending::Unknown { is_shared } => Ended::Unknown { is_shared },
            Ending::Committing { is_shared: false } => Ended::Unknown { is_shared: false },
            Ending::Committing { is_shared: true } => match protection.standing().await {
                Ok(Standing::Free) => Ended::Open,
                Ok(Standing::Own | Standing::Lost) => Ended::Answered,
                Err(_) => Ended::Unknown { is_shared: true },
            },
        }
    }
}

impl Protection {
    /// Lets one commit in, and another only if that one failed.
    fn start(&self, is_shared: bool) -> Result<(), CommitError> {
        // Others have been let in since, whose record may be forgotten already. Under a lease the token tells.
        if self.is_transactional && self.began.elapsed() >= MAX_EXECUTION {
            return Err(CommitError::Failed(
                "the run has taken longer than a day, and lost its key".into(),
            ));
        }
        let mut ending = self.ending.lock();
        match *ending {
            Ending::Open => {
                *ending = Ending::Committing { is_shared };
                Ok(())
            }
            _ => Err(CommitError::Misused(
                "a run commits once: put all that belongs together into one transaction",
            )),
        }
    }

    async fn commit<T: Transaction>(
        &self,
        transaction: T,
        is_shared: bool,
        ending: transaction::Ending<T::Value>,
    ) -> Result<Committed, CommitError> {
        if self.is_transactional && !is_shared {
            return Err(CommitError::Misused(
                "a transactional handler needs its engine's store in the database of its transactions",
            ));
        }
        if !is_shared {
            // All that can be done without one transaction for both: a run that has lost its key stops here.
            self.renew().await?;
        }
        let entry = is_shared.then(|| self.entry.clone());
        let failure = match transaction.commit(entry, ending).await {
            Ok(fenced) => return committed(fenced),
            Err(CommitFailure::Undone(source)) => return Err(CommitError::Failed(source)),
            #[cfg(feature = "postgres")]
            Err(CommitFailure::Misused(what)) => return Err(CommitError::Misused(what)),
            Err(CommitFailure::Unknown(source)) => source,
        };
        if !is_shared {
            return Err(CommitError::Unknown(failure));
        }
        tracing::warn!(
            idempotency.record = %self.entry.hold.id,
            error = %Causes(failure.as_ref()),
            "the database did not say whether it has committed; the key's record will tell",
        );
        match self.standing().await {
            Ok(Standing::Own | Standing::Lost) => Err(CommitError::Answered),
            Ok(Standing::Free) => Err(CommitError::Failed(failure)),
            Err(error) => Err(CommitError::Unknown(error.into())),
        }
    }

    async fn renew(&self) -> Result<(), CommitError> {
        let Entry {
            hold, fingerprint, ..
        } = &self.entry;
        match self.idempotency.refresh(hold, fingerprint, None).await {
            Ok(Fenced::Done(_)) => Ok(()),
            Ok(Fenced::Lost) => Err(CommitError::Answered),
            Err(error) => Err(CommitError::Failed(error.into())),
        }
    }

    /// Finds out what has become of a transaction that may have been committed, and sees to it that it cannot be any more
    /// if it was not.
    async fn standing(&self) -> Result<Standing, StoreError> {
        self.idempotency.standing(&self.entry).await
    }
}

fn committed(fenced: Fenced<Committed>) -> Result<Committed, CommitError> {
    match fenced {
        Fenced::Done(committed) => Ok(committed),
        Fenced::Lost => Err(CommitError::Answered),
    }
}

impl From<CommitFailure> for CommitError {
    fn from(failure: CommitFailure) -> Self {
        match failure {
            CommitFailure::Undone(source) => Self::Failed(source),
            CommitFailure::Unknown(source) => Self::Unknown(source),
            #[cfg(feature = "postgres")]
            CommitFailure::Misused(what) => Self::Misused(what),
        }
    }
}

impl fmt::Display for CommitError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Answered => "the request has its answer already",
            Self::Failed(_) => "the transaction was not committed",
            Self::Unknown(_) => "it is not known whether the transaction was committed",
            Self::Misused(what) => what,
        })
    }
}

impl Error for CommitError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(source) | Self::Unknown(source) => Some(source.as_ref()),
            Self::Answered | Self::Misused(_) => None,
        }
    }
}
