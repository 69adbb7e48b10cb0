//! The application's documents and a key's record in one commit.

use std::{any::Any, error::Error, time::Duration};

use bytes::Bytes;
use gcloud_sdk::google::firestore::v1::{Write, WriteResult};
use tokio::time::{Instant, sleep};

use super::{
    FirestoreConflict, FirestoreDatabase, FirestoreStore,
    change::{self, Base, Change},
    client::Failure,
    document,
    record_cache::CachedRecord,
    step::Look,
};
use crate::store::{
    Hold, IfOwner,
    transaction::{CommitFailure, Committed, NewOutcome, PendingRecord, innermost},
};

/// No commit is sent again after this time.
const RETRY_TIMEOUT: Duration = Duration::from_millis(2500);

/// The pause before a conflicting commit is sent again.
const PAUSE: Duration = Duration::from_millis(20);

/// Commits these writes without a record.
pub(super) async fn alone(
    database: &FirestoreDatabase,
    writes: Vec<Write>,
    outcome: NewOutcome,
) -> Result<IfOwner<Committed>, CommitFailure> {
    let sent = send(database, writes, Instant::now() + RETRY_TIMEOUT).await;
    sent.map_err(failure)?;
    Ok(IfOwner::Done(Committed {
        outcome,
        expires_at: None,
    }))
}

/// Commits these writes with the record of a run that has this outcome.
pub(super) async fn with(
    entry: &PendingRecord,
    writes: Vec<Write>,
    outcome: NewOutcome,
) -> Result<IfOwner<Committed>, CommitFailure> {
    let store: &dyn Any = innermost(entry.store.as_ref());
    let Some(store) = store.downcast_ref::<FirestoreStore>() else {
        return Err(CommitFailure::Undone(
            "the store is not a Firestore store".into(),
        ));
    };
    let (id, hold) = (&entry.hold.id, outcome.hold(&entry.hold));
    let give_up = Instant::now() + RETRY_TIMEOUT;
    let mut base = match store.remembered_for(entry) {
        Some(base) => base,
        None => match store.look_for(entry).await? {
            Some(base) => base,
            None => return Ok(IfOwner::NotOwner),
        },
    };
    loop {
        let change = change(entry, &hold, outcome.bytes.clone());
        let record = change.write(store.name(id), base, store.database.0.clock.now());
        let all = writes.iter().cloned().chain([record]).collect();
        let status = match send(&store.database, all, give_up).await {
            Ok(results) => {
                // What follows only serves later calls, so a commit without a time is successful too.
                let stepped_at = results.last().and_then(change::stepped_at);
                let stepped_at = stepped_at.unwrap_or_else(|| store.database.0.clock.now());
                store.record_cache.put(id, Some(CachedRecord::Other));
                store.wakeups.wake(id);
                return Ok(IfOwner::Done(Committed {
                    outcome,
                    expires_at: Some(document::after(stepped_at, hold.ttl)),
                }));
            }
            Err(Failure::Conflict(status)) => status,
            Err(other) => return Err(failure(other)),
        };
        // Firestore does not say which of the writes conflicted.
        match store.look_for(entry).await? {
            None => return Ok(IfOwner::NotOwner),
            Some(found) if found == base => {
                return Err(CommitFailure::Undone(FirestoreConflict(status).into()));
            }
            // A renewal, or a sweep, has come in between.
            Some(found) if Instant::now() < give_up => base = found,
            Some(_) => return Err(CommitFailure::Undone(status.into())),
        }
    }
}

/// Commits these writes, and tries again if they conflict with others.
async fn send(
    database: &FirestoreDatabase,
    writes: Vec<Write>,
    give_up: Instant,
) -> Result<Vec<WriteResult>, Failure> {
    loop {
        let sent = database.0.commit(writes.clone()).await;
        if !matches!(sent, Err(Failure::Contention(_))) || Instant::now() + PAUSE >= give_up {
            return sent;
        }
        sleep(PAUSE).await;
    }
}

fn change(entry: &PendingRecord, hold: &Hold, outcome: Bytes) -> Change {
    if entry.is_held {
        Change::Complete {
            token: hold.token,
            outcome,
            ttl: hold.ttl,
        }
    } else {
        Change::Leave {
            hold: hold.clone(),
            fingerprint: entry.fingerprint,
            outcome,
        }
    }
}

impl FirestoreStore {
    /// What the record is, as far as this process remembers.
    fn remembered_for(&self, entry: &PendingRecord) -> Option<Base> {
        let id = &entry.hold.id;
        if entry.is_held {
            self.remembered(id, &entry.hold.token)
        } else {
            let free = self.remembered_free(id, &entry.hold.token);
            free.map(|(base, _)| base)
        }
    }

    /// What the record is, if this run can complete it.
    async fn look_for(&self, entry: &PendingRecord) -> Result<Option<Base>, CommitFailure> {
        let undone = |error: Box<dyn Error + Send + Sync>| CommitFailure::Undone(error);
        let looked = self.look(&entry.hold.id).await;
        let looked = looked.map_err(|error| undone(error.into()))?;
        let (found, now) = looked.map_err(|failure| undone(failure.into_status().into()))?;
        let base = found
            .as_ref()
            .map(|found| Base::UpdatedAt(found.update_time));
        let living = Look {
            found,
            now,
            tried: false,
        }
        .living();
        Ok(match (living, entry.is_held) {
            (Some(found), true) if found.is_held_by(&entry.hold.token) => base,
            (None, false) => Some(base.unwrap_or(Base::Absent)),
            _ => None,
        })
    }
}

fn failure(failure: Failure) -> CommitFailure {
    match failure {
        Failure::Conflict(status) => CommitFailure::Undone(FirestoreConflict(status).into()),
        Failure::Contention(status) | Failure::Unsent(status) | Failure::Refused(status) => {
            CommitFailure::Undone(status.into())
        }
        Failure::Unknown(status) => CommitFailure::Unknown(status.into()),
    }
}
