//! Lets a run end itself, by a transaction of its own.

#[cfg(feature = "axum")]
use std::time::Duration;
use std::{
    error::Error,
    fmt,
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use super::{Execution, OutcomeKind, Protection};
#[cfg(feature = "axum")]
use crate::options::Ttl;
use crate::{
    Idempotency,
    engine::{CommitStatus, MAX_EXECUTION},
    log_text::Causes,
    store::{
        IfOwner, StoreError, Transaction,
        transaction::{
            self, BeforeAlone, CommitFailure, Committed, NewOutcome, PendingRecord, encode_through,
        },
    },
};

/// Why [`Execution::commit`] or [`Execution::commit_value`] did not commit.
///
/// Whatever the handler or work does with this error, its client or caller gets the stored response or value, if there is
/// one.
///
/// `?` converts errors of sqlx (0.9, or 0.8 with `sqlx-0_8`), of tokio-postgres, and of `SqliteDatabase`. The client then
/// gets 503 and may retry. Handle errors that need another response, such as a taken name, before `?`.
#[derive(Debug)]
#[non_exhaustive]
pub enum CommitError {
    /// Another run has the key. This transaction was rolled back, and the client receives that run's response.
    Superseded,
    /// Nothing was committed, for this reason.
    Failed(Box<dyn Error + Send + Sync>),
    /// The database does not say whether the transaction committed. The response asks the client to retry with the same key.
    Unknown(Box<dyn Error + Send + Sync>),
    /// The program has a bug, and this call commits nothing. The text says what to change.
    Misused(&'static str),
}

/// How far a run has come with ending itself.
pub(super) enum CommitState {
    /// No commit has begun.
    Open,
    /// A transaction is being committed, or the commit's future was dropped. `is_shared` says whether it carries the
    /// record.
    Committing {
        is_shared: bool,
    },
    /// The transaction committed: with its record, which expires then, or without one, so that the outcome has yet to be
    /// stored.
    Committed {
        outcome: NewOutcome,
        expires_at: Option<SystemTime>,
    },
    /// A response is stored for the key, perhaps the run's own.
    Superseded,
    Unknown {
        is_shared: bool,
    },
}

impl Execution {
    /// Commits the transaction with the key's record, which stores what `ending` makes of the transaction's value.
    pub(crate) async fn end_with<T: Transaction>(
        &self,
        transaction: T,
        kind: OutcomeKind,
        ending: transaction::EncodeResponse<T::Value>,
    ) -> Result<(), CommitError> {
        let Some(protection) = &self.0.protection else {
            committed(transaction.commit(None, ending).await?)?;
            return Ok(());
        };
        // A retry could not read an outcome of the other kind.
        match (protection.outcome, kind) {
            (OutcomeKind::Response | OutcomeKind::ReplayValue, OutcomeKind::Value) => {
                return Err(CommitError::Misused(
                    "a handler commits its response: call commit in place of commit_value",
                ));
            }
            (OutcomeKind::Value, OutcomeKind::Response) => {
                return Err(CommitError::Misused(
                    "work under run_with commits its value: call commit_value in place of commit",
                ));
            }
            _ => {}
        }
        let is_shared = transaction.shares(protection.entry.store.as_ref());
        protection.start(is_shared)?;
        let alone = self.before_alone();
        let ended = protection
            .commit(transaction, is_shared, ending, alone)
            .await;
        let is_shared = protection.is_shared();
        *protection.commit_state.lock() = match &ended {
            Ok(committed) => CommitState::Committed {
                outcome: committed.outcome.clone(),
                expires_at: committed.expires_at,
            },
            Err(CommitError::Superseded) => CommitState::Superseded,
            Err(CommitError::Unknown(_)) => CommitState::Unknown { is_shared },
            Err(CommitError::Failed(_) | CommitError::Misused(_)) => CommitState::Open,
        };
        ended.map(drop)
    }

    /// What a run under a lease does once its transaction turns out to be in a different database than its key.
    fn before_alone(&self) -> BeforeAlone {
        let execution = self.clone();
        Box::pin(async move {
            let Some(protection) = &execution.0.protection else {
                return Ok(IfOwner::Done(()));
            };
            let renewed = protection.renew().await;
            let renewed = renewed.map_err(|error| CommitFailure::Undone(error.into()))?;
            *protection.commit_state.lock() = CommitState::Committing { is_shared: false };
            Ok(renewed)
        })
    }

    /// Whether the run's own transaction carries its record.
    pub(crate) fn is_transactional(&self) -> bool {
        let protection = self.0.protection.as_ref();
        protection.is_some_and(|protection| protection.is_transactional)
    }

    /// How long the store keeps a response with this ttl.
    #[cfg(feature = "axum")]
    pub(crate) fn kept(&self, ttl: Ttl) -> Option<Duration> {
        let protection = self.0.protection.as_ref()?;
        Some(ttl.kept_in_place_of(protection.ttl))
    }

    /// The engine, if the run has a key.
    pub(crate) fn engine(&self) -> Option<&Idempotency> {
        let protection = self.0.protection.as_ref();
        protection.map(|protection| &protection.idempotency)
    }
}

impl Protection {
    /// Admits a commit, and a second one only if the first failed.
    fn start(&self, is_shared: bool) -> Result<(), CommitError> {
        // Other runs may have had the key since, and their record may have expired. Under a lease the token shows that.
        if self.is_transactional && self.began.elapsed() >= MAX_EXECUTION {
            return Err(CommitError::Failed(
                "the run took longer than a day, and lost its key".into(),
            ));
        }
        let mut state = self.commit_state.lock();
        match *state {
            CommitState::Open => {
                *state = CommitState::Committing { is_shared };
                Ok(())
            }
            _ => Err(CommitError::Misused(
                "a run commits once: put everything that belongs together into one transaction",
            )),
        }
    }

    async fn commit<T: Transaction>(
        &self,
        transaction: T,
        is_shared: bool,
        ending: transaction::EncodeResponse<T::Value>,
        alone: BeforeAlone,
    ) -> Result<Committed, CommitError> {
        if self.is_transactional && !is_shared {
            return Err(CommitError::Misused(
                "a transactional run needs its engine's store in the database of its transactions",
            ));
        }
        if !is_shared {
            // Without one transaction for both, only this check is possible: a run that has lost its key stops here.
            let renewed = self.renew().await;
            match renewed.map_err(|error| CommitError::Failed(error.into()))? {
                IfOwner::Done(()) => {}
                IfOwner::NotOwner => return Err(CommitError::Superseded),
            }
        }
        let entry = is_shared.then(|| self.entry.clone());
        // The transaction writes to the innermost store, so the wrappers transform the outcome first.
        let plain = Arc::new(OnceLock::new());
        let ending: transaction::EncodeResponse<T::Value> = match &entry {
            Some(entry) if entry.store.wrapped().is_some() => {
                let (entry, plain) = (entry.clone(), Arc::clone(&plain));
                Box::new(move |value| {
                    let outcome = ending(value);
                    Box::pin(async move {
                        let NewOutcome { bytes, ttl } = outcome.await?;
                        let (store, id) = (entry.store.as_ref(), &entry.hold.id);
                        let encoded = encode_through(store, id, bytes.clone())?;
                        plain.get_or_init(|| bytes);
                        Ok(NewOutcome {
                            bytes: encoded,
                            ttl,
                        })
                    })
                })
            }
            _ => ending,
        };
        let ended = match entry {
            Some(entry) if !self.is_transactional => {
                transaction.commit_or_alone(entry, ending, alone).await
            }
            entry => transaction.commit(entry, ending).await,
        };
        let failure = match ended {
            Ok(is_owner) => {
                let mut committed = committed(is_owner)?;
                if let Some(plain) = plain.get() {
                    committed.outcome.bytes = plain.clone();
                }
                return Ok(committed);
            }
            Err(CommitFailure::Undone(source)) => return Err(CommitError::Failed(source)),
            #[cfg(feature = "postgres")]
            Err(CommitFailure::Misused(what)) => return Err(CommitError::Misused(what)),
            Err(CommitFailure::Unknown(source)) => source,
        };
        if !self.is_shared() {
            return Err(CommitError::Unknown(failure));
        }
        tracing::warn!(
            idempotency.store = self.entry.store.name(),
            idempotency.record = %self.entry.hold.id,
            error = %Causes(failure.as_ref()),
            "the database did not say whether it committed; the key's record will tell",
        );
        match self.resolve_commit().await {
            // The run has its own response, of which the record may have only that it is not stored.
            Ok(CommitStatus::Committed {
                outcome,
                expires_at,
            }) => Ok(Committed {
                outcome: outcome.into(),
                expires_at: Some(expires_at),
            }),
            Ok(CommitStatus::Superseded) => Err(CommitError::Superseded),
            Ok(CommitStatus::NotCommitted) => Err(CommitError::Failed(failure)),
            Err(error) => Err(CommitError::Unknown(error.into())),
        }
    }

    /// Whether the transaction that is being committed carries the record, as far as the run knows.
    fn is_shared(&self) -> bool {
        matches!(
            *self.commit_state.lock(),
            CommitState::Committing { is_shared: true }
        )
    }

    async fn renew(&self) -> Result<IfOwner<()>, StoreError> {
        let PendingRecord {
            hold, fingerprint, ..
        } = &self.entry;
        let renewed = self.idempotency.refresh(hold, fingerprint, None).await?;
        Ok(renewed.map(drop))
    }

    /// Determines whether a transaction committed whose confirmation was lost, and makes sure that it can no longer
    /// commit if it did not.
    pub(super) async fn resolve_commit(&self) -> Result<CommitStatus, StoreError> {
        self.idempotency.resolve_commit(&self.entry).await
    }
}

fn committed(fenced: IfOwner<Committed>) -> Result<Committed, CommitError> {
    match fenced {
        IfOwner::Done(committed) => Ok(committed),
        IfOwner::NotOwner => Err(CommitError::Superseded),
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
            Self::Superseded => "another run has the key",
            Self::Failed(_) => "the transaction did not commit",
            Self::Unknown(_) => "it is not known whether the transaction committed",
            Self::Misused(what) => what,
        })
    }
}

impl Error for CommitError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed(source) | Self::Unknown(source) => Some(source.as_ref()),
            Self::Superseded | Self::Misused(_) => None,
        }
    }
}
