//! The application's documents and a key's record in one commit.

use std::{any::Any, error::Error, fmt, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use gcloud_sdk::{
    google::firestore::v1::{Write, WriteResult},
    tonic::Status,
};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{
    FirestoreDatabase, FirestorePrecondition, FirestoreStore,
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
///         .create("bookings", &guest, &json!({ "nights": 1 }));
///     execution.commit(create, StatusCode::CREATED).await
/// }
/// ```
///
/// A document is named by its collection, such as `bookings` or `hotels/ritz/bookings`, and its id in it, which may come from
/// a client: one with a slash in it is refused. What is in it is written by serde: null, booleans, integers of 64 bits with a
/// sign, floating point numbers, strings, arrays and maps, as JSON has them.
///
/// All writes happen, or none. Firestore takes 500 at a time, the key's record among them, and ten mebibytes.
///
/// # Errors
///
/// The commit fails with a [`FirestoreConflict`] where a document is not what a write to it expects. The handler may then
/// look again and commit anew:
///
/// ```
/// use axum::{
///     http::StatusCode,
///     response::{IntoResponse, Response},
/// };
/// use idempotency::{CommitError, Execution, FirestoreConflict, FirestoreDatabase};
/// use serde_json::json;
///
/// # #[allow(dead_code)]
/// async fn book(database: &FirestoreDatabase, execution: &Execution) -> Result<Response, CommitError> {
///     for room in ["21", "22"] {
///         let create = database.transaction().create("rooms", room, &json!({}));
///         match execution.commit(create, StatusCode::CREATED).await {
///             Err(CommitError::Failed(why)) if why.is::<FirestoreConflict>() => {}
///             end => return end,
///         }
///     }
///     Ok(StatusCode::CONFLICT.into_response())
/// }
/// ```
///
/// It fails, too, with nothing sent, where a name is none, a document is no map, or a number has no place in 64 bits.
#[must_use = "nothing is written before it is committed"]
pub struct FirestoreTransaction {
    database: FirestoreDatabase,
    writes: Vec<Write>,
    mistake: Option<WriteError>,
}

/// A document of the application was not what a write expected. Nothing was written.
#[derive(Debug)]
pub struct FirestoreConflict(Status);

/// No commit is sent again after this long.
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
    pub fn create(self, collection: &str, id: &str, document: &impl Serialize) -> Self {
        self.and(collection, id, |name| writes::create(name, document))
    }

    /// Changes these fields of a document, and leaves its others.
    pub fn update(
        self,
        collection: &str,
        id: &str,
        changes: &impl Serialize,
        precondition: FirestorePrecondition,
    ) -> Self {
        let update = |name| writes::update(name, changes, precondition);
        self.and(collection, id, update)
    }

    /// Removes a document.
    pub fn delete(self, collection: &str, id: &str, precondition: FirestorePrecondition) -> Self {
        self.and(collection, id, |name| {
            Ok(writes::delete(name, precondition))
        })
    }

    fn and(
        mut self,
        collection: &str,
        id: &str,
        write: impl FnOnce(String) -> Result<Write, WriteError>,
    ) -> Self {
        let path = writes::path(collection, id);
        let name = path.map(|path| self.database.0.document(&path));
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
                None => commit_alone(&self.database, self.writes, outcome).await,
            }
        })
    }
}

async fn commit_alone(
    database: &FirestoreDatabase,
    writes: Vec<Write>,
    outcome: Bytes,
) -> Result<Fenced<Committed>, CommitFailure> {
    let sent = send(database, writes, Instant::now() + PATIENCE).await;
    sent.map_err(failure)?;
    Ok(Fenced::Done(Committed {
        outcome,
        expires_at: None,
    }))
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
    let mut base = match store.remembered_for(entry) {
        Some(base) => base,
        None => match store.look_for(entry).await? {
            Some(base) => base,
            None => return Ok(Fenced::Lost),
        },
    };
    loop {
        let change = change(entry, outcome.clone());
        let record = change.write(store.name(id), base, store.database.0.clock.now());
        let all = writes.iter().cloned().chain([record]).collect();
        let status = match send(&store.database, all, give_up).await {
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
            Err(Failure::Conflict(status)) => status,
            Err(other) => return Err(failure(other)),
        };
        // It does not say which of the writes it was.
        match store.look_for(entry).await? {
            None => return Ok(Fenced::Lost),
            Some(found) if found == base => {
                return Err(CommitFailure::Undone(FirestoreConflict(status).into()));
            }
            // A renewal, or a sweep, has come between.
            Some(found) if Instant::now() < give_up => base = found,
            Some(_) => return Err(CommitFailure::Undone(status.into())),
        }
    }
}

/// Commits these, and tries again where they came too close to somebody else's.
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
    fn remembered_for(&self, entry: &Entry) -> Option<Base> {
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
        Failure::Conflict(status) => CommitFailure::Undone(FirestoreConflict(status).into()),
        Failure::Contention(status) | Failure::Refused(status) => {
            CommitFailure::Undone(status.into())
        }
        Failure::Unknown(status) => CommitFailure::Unknown(status.into()),
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
