//! The application's documents and a key's record in one commit.

use std::{any::Any, error::Error, fmt, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use gcloud_sdk::{
    google::firestore::v1::Write,
    tonic::{Code, Status},
};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{
    Expected, FirestoreDatabase, FirestoreStore,
    client::Failure,
    document::{self, Base, Change},
    seen::Sight,
    step::Look,
    writes::{self, WriteError},
};
use crate::store::{
    Fenced, Store,
    transaction::{CommitFailure, Committed, Ending, Entry, Transaction, sealed::Sealed},
};

/// Writes that are committed together with a key's record, from [`FirestoreDatabase::transaction`].
///
/// ```
/// use axum::{extract::State, http::StatusCode, response::Response};
/// use idempotency::{CommitError, Execution, FirestoreDatabase, idempotent};
/// use serde_json::json;
///
/// #[idempotent(ttl_seconds = 3600, transactional)]
/// async fn book(
///     State(database): State<FirestoreDatabase>,
///     execution: Execution,
///     guest: String,
/// ) -> Result<Response, CommitError> {
///     let create = database
///         .transaction()
///         .create(&format!("bookings/{guest}"), &json!({ "guest": guest, "nights": 1 }));
///     execution.commit(create, StatusCode::CREATED).await
/// }
/// ```
///
/// Documents are named by paths, collection and id by turns, and written by serde: null, booleans, integers, floating point
/// numbers, strings, arrays and maps, as JSON has them. All writes happen, or none; where a document is not what a write
/// expects, the commit fails with a [`FirestoreConflict`], and the handler may look again and commit anew. Firestore takes
/// 500 writes and ten megabytes at a time.
#[must_use = "nothing is written before it is committed"]
pub struct FirestoreTransaction {
    database: FirestoreDatabase,
    writes: Vec<Write>,
    mistake: Option<WriteError>,
}

/// A document of the application was not what a write expected. Nothing was written.
#[derive(Debug)]
pub struct FirestoreConflict(Status);

/// No commit begins after this long.
const PATIENCE: Duration = Duration::from_millis(2500);

/// Before a commit that came too close to another one is sent again.
const PAUSE: Duration = Duration::from_millis(20);

impl FirestoreTransaction {
    pub(super) fn new(database: FirestoreDatabase) -> Self {
        Self {
            database,
            writes: Vec::new(),
            mistake: None,
        }
    }

    /// Makes a document, which must not be there yet.
    pub fn create(self, path: &str, document: &impl Serialize) -> Self {
        self.and(path, |name| writes::create(name, document))
    }

    /// Changes these fields of a document, and leaves its others.
    pub fn update(self, path: &str, changes: &impl Serialize, expected: Expected) -> Self {
        self.and(path, |name| writes::update(name, changes, expected))
    }

    /// Removes a document.
    pub fn delete(self, path: &str, expected: Expected) -> Self {
        self.and(path, |name| Ok(writes::delete(name, expected)))
    }

    fn and(mut self, path: &str, write: impl FnOnce(String) -> Result<Write, WriteError>) -> Self {
        let name = writes::checked(path).map(|path| self.database.0.document(path));
        match name.and_then(write) {
            Ok(write) => self.writes.push(write),
            // The first one is told when it is committed, which is where errors are handled.
            Err(mistake) => self.mistake = self.mistake.or(Some(mistake)),
        }
        self
    }
}

impl Sealed for FirestoreTransaction {}

impl Transaction for FirestoreTransaction {
    type Value = ();

    fn shares(&self, store: &dyn Store) -> bool {
        let store: &dyn Any = store;
        store
            .downcast_ref::<FirestoreStore>()
            .is_some_and(|store| store.database.is(&self.database))
    }

    fn commit<'a>(
        self,
        entry: Option<Entry>,
        ending: Ending<()>,
    ) -> BoxFuture<'a, Result<Fenced<Committed>, CommitFailure>>
    where
        Self: 'a,
    {
        Box::pin(async move {
            if let Some(mistake) = self.mistake {
                return Err(CommitFailure::Undone(mistake.into()));
            }
            let outcome = ending(()).await.map_err(CommitFailure::Undone)?;
            match entry {
                Some(entry) => commit(self.writes, &entry, outcome).await,
                None => {
                    let written = self.database.0.commit(self.writes).await;
                    written.map_err(failure)?;
                    Ok(Fenced::Done(Committed {
                        outcome,
                        expires_at: None,
                    }))
                }
            }
        })
    }
}

async fn commit(
    writes: Vec<Write>,
    entry: &Entry,
    outcome: Bytes,
) -> Result<Fenced<Committed>, CommitFailure> {
    let store: &dyn Any = entry.store.as_ref();
    let Some(store) = store.downcast_ref::<FirestoreStore>() else {
        return Err(CommitFailure::Undone(
            "the store is not of Firestore".into(),
        ));
    };
    let id = &entry.hold.id;
    let give_up = Instant::now() + PATIENCE;
    let mut base = store.expected(entry);
    loop {
        let based_on = match base.take() {
            Some(base) => base,
            None => match store.look_for(entry).await? {
                Some(base) => base,
                None => return Ok(Fenced::Lost),
            },
        };
        let change = change(entry, outcome.clone());
        let record = change.write(store.name(id), based_on, store.database.0.clock.now());
        let all = writes.iter().cloned().chain([record]).collect();
        match store.database.0.commit(all).await {
            Ok(results) => {
                // What follows is for later, so that a commit without a time is one all the same.
                let stepped_at = results.last().and_then(document::stepped_at);
                let stepped_at = stepped_at.unwrap_or_else(|| store.database.0.clock.now());
                store.seen.put(id, Some(Sight::Ended));
                store.wakeups.wake(id);
                return Ok(Fenced::Done(Committed {
                    outcome,
                    expires_at: Some(document::after(stepped_at, entry.hold.ttl)),
                }));
            }
            // It does not say which of the writes it was.
            Err(Failure::Conflict(status)) => match store.look_for(entry).await? {
                None => return Ok(Fenced::Lost),
                Some(found) if found == based_on => {
                    return Err(CommitFailure::Undone(FirestoreConflict(status).into()));
                }
                // A renewal, or a sweep, has come between.
                Some(found) => base = Some(found),
            },
            // It came too close to another one, and nothing was written.
            Err(Failure::Unknown(status))
                if status.code() == Code::Aborted && Instant::now() + PAUSE < give_up =>
            {
                sleep(PAUSE).await;
            }
            Err(other) => return Err(failure(other)),
        }
    }
}

fn change(entry: &Entry, outcome: Bytes) -> Change {
    match entry.is_held {
        true => Change::Complete {
            token: entry.hold.token,
            outcome,
            ttl: entry.hold.ttl,
        },
        false => Change::Leave {
            hold: entry.hold.clone(),
            fingerprint: entry.fingerprint,
            outcome,
        },
    }
}

impl FirestoreStore {
    /// What the record is, as far as is known without asking.
    fn expected(&self, entry: &Entry) -> Option<Base> {
        let id = &entry.hold.id;
        match entry.is_held {
            true => self.remembered(id, &entry.hold.token),
            false => self.seen.get(id).is_none().then_some(Base::Absent),
        }
    }

    /// What the record is, if it can be completed by this run.
    async fn look_for(&self, entry: &Entry) -> Result<Option<Base>, CommitFailure> {
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
        Failure::Unknown(status) if status.code() != Code::Aborted => {
            CommitFailure::Unknown(status.into())
        }
        Failure::Conflict(status) => CommitFailure::Undone(FirestoreConflict(status).into()),
        Failure::Unknown(status) | Failure::Refused(status) => CommitFailure::Undone(status.into()),
    }
}

impl fmt::Debug for FirestoreTransaction {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("FirestoreTransaction")
            .field("database", &self.database)
            .field("writes", &self.writes.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for FirestoreConflict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a document in Firestore is not what a write to it expects")
    }
}

impl Error for FirestoreConflict {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}
