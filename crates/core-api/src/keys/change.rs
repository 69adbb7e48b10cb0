//! What operators do to a key, by compare-and-set on the record that they have seen.

use std::{fmt, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode},
    response::Response,
};
use idempotency::{
    Idempotency,
    operators::KeyChange,
    store::{IfOwner, Phase, Record, RecordId, Resolution, StoreError, StoreErrorKind},
};

use super::{
    audit::{Asked, Who},
    id::{Found, KeyId, find},
    view::{UNREADABLE, version},
};

/// What to do.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Ends a run without a response: the next request with its key runs.
    Release {
        /// Even if its lease has not expired, so that it may still be running.
        even_if_running: bool,
    },
    /// Ends a run with this response, which every retry receives.
    Resolve {
        prepared: Prepared,
        even_if_running: bool,
    },
    /// Removes the response of a completed run.
    Erase {
        /// Even if it cannot be decrypted.
        even_if_unreadable: bool,
    },
}

/// A response that an operator stores for a key.
#[derive(Clone)]
pub(crate) struct Prepared {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// How long retries receive it: at least [`MIN_TTL`](Self::MIN_TTL).
    pub(crate) ttl: Duration,
}

/// The result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// The record has changed since it was seen.
    Changed,
    NotFound,
    /// Several ids begin with these digits.
    Ambiguous,
    /// The lease of its run has not expired.
    Running,
    /// Its run has not ended, so there is no response to erase.
    InFlight,
    /// Its run has ended.
    Completed,
}

impl Change {
    const fn name(&self) -> &'static str {
        match self {
            Self::Release { .. } => "release",
            Self::Resolve { .. } => "resolve",
            Self::Erase { .. } => "erase",
        }
    }
}

impl Prepared {
    /// The longest body that the library stores. In place of a longer one it stores a tombstone.
    pub(crate) const MAX_BODY: usize = 1024 * 1024;

    /// If the response expired before the client's next retry, that retry would run.
    pub(crate) const MIN_TTL: Duration = Duration::from_secs(60);

    fn response(&self) -> Response {
        let mut response = Response::new(Body::from(self.body.clone()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        response
    }
}

/// Changes the key with this id. If versions are given, the record must still have one of them.
pub(crate) async fn change(
    idempotency: &Idempotency,
    who: &Who,
    id: &KeyId,
    seen: Option<&[&str]>,
    change: &Change,
) -> Result<Outcome, StoreError> {
    let asked = Asked::log(who, change.name(), id);
    let changed = async {
        let record = match find(idempotency, id).await {
            Ok(Found::Nothing) => return Ok(Outcome::NotFound),
            Ok(Found::Several) => return Ok(Outcome::Ambiguous),
            Ok(Found::One(record)) => record,
            Err(error) if error.kind() == StoreErrorKind::Unreadable => {
                let sees_it = |seen: &[&str]| seen.contains(&UNREADABLE);
                return match (change, id.whole(), seen) {
                    (Change::Erase { .. }, Some(id), Some(seen)) if sees_it(seen) => {
                        erase_unreadable(idempotency, &id).await
                    }
                    (Change::Erase { .. }, Some(_), Some(_)) => Ok(Outcome::Changed),
                    (
                        Change::Erase {
                            even_if_unreadable: true,
                        },
                        Some(id),
                        None,
                    ) => erase_unreadable(idempotency, &id).await,
                    _ => Err(error),
                };
            }
            Err(error) => return Err(error),
        };
        if seen.is_some_and(|seen| !seen.contains(&&*version(&record))) {
            return Ok(Outcome::Changed);
        }
        apply(idempotency, &record, change).await
    };
    report(asked, changed.await)
}

/// Erases a response that cannot be decrypted: a customer's data can be removed even if the secret is lost.
async fn erase_unreadable(idempotency: &Idempotency, id: &RecordId) -> Result<Outcome, StoreError> {
    Ok(match idempotency.erase(id).await? {
        KeyChange::Made => Outcome::Done,
        KeyChange::Held => Outcome::InFlight,
        KeyChange::Free => Outcome::NotFound,
        _ => Outcome::Changed,
    })
}

/// Changes the key of this record.
pub(crate) async fn change_seen(
    idempotency: &Idempotency,
    who: &Who,
    seen: &Record,
    change: &Change,
) -> Result<Outcome, StoreError> {
    let asked = Asked::log(who, change.name(), KeyId::of(&seen.id));
    report(asked, apply(idempotency, seen, change).await)
}

fn report(asked: Asked<'_>, changed: Result<Outcome, StoreError>) -> Result<Outcome, StoreError> {
    match &changed {
        Ok(Outcome::Done) => asked.done(Outcome::Done),
        Ok(other) => asked.not_done(other),
        // It may have been done: the store's reply was lost.
        Err(error) => asked.not_done(format_args!(
            "unknown: {}",
            idempotency::log_text::Causes(error)
        )),
    }
    changed
}

async fn apply(
    idempotency: &Idempotency,
    seen: &Record,
    change: &Change,
) -> Result<Outcome, StoreError> {
    let (resolution, even_if_running) = match change {
        Change::Erase { .. } => {
            return Ok(match idempotency.erase_seen(seen).await? {
                KeyChange::Made => Outcome::Done,
                KeyChange::Held => Outcome::InFlight,
                _ => Outcome::Changed,
            });
        }
        Change::Release { even_if_running } => (Resolution::Release, *even_if_running),
        Change::Resolve {
            prepared,
            even_if_running,
        } => {
            let outcome = idempotency.outcome_of_response(prepared.response()).await;
            let outcome = outcome.expect("a body in memory does not break off");
            let ttl = prepared.ttl;
            (Resolution::Complete { outcome, ttl }, *even_if_running)
        }
    };
    if let Phase::Completed { .. } = seen.phase {
        return Ok(Outcome::Completed);
    }
    if even_if_running {
        return Ok(match idempotency.resolve(seen, resolution).await? {
            IfOwner::Done(()) => Outcome::Done,
            _ => Outcome::Changed,
        });
    }
    // Its owner may be about to take effect, and a concurrent retry would take effect a second time. Only the store knows whether
    // the lease has expired: the record seen may be old, and this machine has another clock.
    Ok(match idempotency.resolve_lost(seen, resolution).await? {
        KeyChange::Made => Outcome::Done,
        KeyChange::Held => Outcome::Running,
        KeyChange::Free => Outcome::NotFound,
        _ => Outcome::Changed,
    })
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Done => "done",
            Self::Changed => "changed meanwhile",
            Self::NotFound => "not found",
            Self::Ambiguous => "several keys begin with these digits",
            Self::Running => "not done: its lease has not expired",
            Self::InFlight => "not done: its run has not ended",
            Self::Completed => "not done: its run is completed",
        })
    }
}

/// Prints only the status: a response belongs to its caller.
impl fmt::Debug for Prepared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Prepared")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
