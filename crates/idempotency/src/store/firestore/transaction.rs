//! What handlers write to their own documents.

use std::{any::Any, error::Error, fmt};

use futures_util::future::BoxFuture;
use gcloud_sdk::{google::firestore::v1::Write, tonic::Status};
use serde::Serialize;

use super::{
    FirestoreDatabase, FirestorePrecondition, FirestoreStore, commit,
    writes::{self, WriteError},
};
use crate::store::{
    IfOwner, Store,
    transaction::{
        CommitFailure, Committed, EncodeResponse, PendingRecord, Transaction, innermost,
        sealed::Sealed,
    },
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
/// A document is named by its collection, such as `bookings` or `hotels/ritz/bookings`, and by its id within it. The id
/// may come from a client: one that contains a slash is refused. Serde writes the content: null, booleans, signed
/// 64-bit integers, floating-point numbers, strings, arrays and maps, as in JSON.
///
/// All writes happen, or none. Firestore accepts ten mebibytes per commit, including the key's response.
///
/// # Errors
///
/// The commit fails with a [`FirestoreConflict`] if a document is not what a write to it expects. The handler may then
/// read again and commit anew:
///
/// ```
/// use axum::{
///     http::StatusCode,
///     response::{IntoResponse, Response},
/// };
/// use idempotency::{CommitError, Execution, FirestoreDatabase, store::FirestoreConflict};
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
/// It also fails, with nothing sent, if a name is invalid, a document is not a map, or a number does not fit into 64
/// bits.
#[must_use = "nothing is written until it is committed"]
pub struct FirestoreTransaction {
    database: FirestoreDatabase,
    writes: Vec<Write>,
    mistake: Option<WriteError>,
}

/// One of the application's documents was not what a write expected. Nothing was written.
#[derive(Debug)]
pub struct FirestoreConflict(pub(super) Status);

impl FirestoreTransaction {
    pub(super) fn new(database: FirestoreDatabase) -> Self {
        Self {
            database,
            writes: Vec::new(),
            mistake: None,
        }
    }

    /// Creates a document, which must not exist yet.
    pub fn create(self, collection: &str, id: &str, document: &impl Serialize) -> Self {
        self.and(collection, id, |name| writes::create(name, document))
    }

    /// Changes these fields of a document, and leaves the others unchanged.
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

    /// Deletes a document.
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
            // The first mistake is reported at the commit, which is where errors are handled.
            Err(mistake) => self.mistake = self.mistake.or(Some(mistake)),
        }
        self
    }
}

impl Sealed for FirestoreTransaction {}

impl Transaction for FirestoreTransaction {
    type Value = ();

    fn shares(&self, store: &dyn Store) -> bool {
        let store: &dyn Any = innermost(store);
        store
            .downcast_ref::<FirestoreStore>()
            .is_some_and(|store| store.database.is(&self.database))
    }

    fn commit<'a>(
        self,
        entry: Option<PendingRecord>,
        ending: EncodeResponse<()>,
    ) -> BoxFuture<'a, Result<IfOwner<Committed>, CommitFailure>>
    where
        Self: 'a,
    {
        Box::pin(async move {
            if let Some(mistake) = self.mistake {
                return Err(CommitFailure::Undone(mistake.into()));
            }
            let outcome = ending(()).await.map_err(CommitFailure::Undone)?;
            match entry {
                Some(entry) => commit::with(&entry, self.writes, outcome).await,
                None => commit::alone(&self.database, self.writes, outcome).await,
            }
        })
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
