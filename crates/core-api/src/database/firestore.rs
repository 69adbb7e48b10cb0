//! Bookings in Google's Firestore, which several processes can share.

mod document;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use axum::response::Response;
use firestore::{FirestoreDb, FirestoreDbOptions, errors::FirestoreError};
use idempotency::{
    CommitError, Execution, FirestoreDatabase, FirestoreStore, Store,
    store::{FirestoreConflict, FirestorePrecondition},
};
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    Bookings, DatabaseError,
    open::{Database, KeyDatabase, Keys},
};
use crate::booking::{Booking, Change, Whose};
use document::{Changed, Document, owner_and_id};

/// The id of the project that an option names.
pub(super) struct FirestoreProject(pub(super) String);

/// The collection `bookings` of a project; each document has the id of its booking. Reads use this client; writes go through
/// the database of the keys.
struct FirestoreBookings {
    reader: FirestoreDb,
    writer: FirestoreDatabase,
}

const COLLECTION: &str = "bookings";

/// How long the start waits for a response.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one call may take; the client library then makes another.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// How many times a change is tried if other clients change the booking in the meantime.
const MAX_TRIES: usize = 5;

#[async_trait]
impl KeyDatabase for FirestoreProject {
    async fn open_keys(&self) -> Result<Box<dyn Keys>, DatabaseError> {
        Ok(Box::new(FirestoreStore::connect(&self.0).await?))
    }
}

#[async_trait]
impl Database for FirestoreProject {
    async fn open(&self) -> Result<(Arc<dyn Bookings>, Box<dyn Keys>), DatabaseError> {
        let keys = FirestoreStore::connect(&self.0).await?;
        let writer = keys.database().clone();
        let bookings = FirestoreBookings::connect(&self.0, writer).await?;
        Ok((Arc::new(bookings), Box::new(keys)))
    }
}

impl Keys for FirestoreStore {
    fn into_store(self: Box<Self>) -> Arc<dyn Store> {
        Arc::new(*self)
    }
}

impl FirestoreBookings {
    /// Connects to the emulator that `FIRESTORE_EMULATOR_HOST` names, or else to Google.
    async fn connect(project: &str, writer: FirestoreDatabase) -> Result<Self, DatabaseError> {
        let options = FirestoreDbOptions::new(project.to_owned())
            .with_request_timeout(CALL_TIMEOUT)
            .with_max_retries(1);
        let connect = async {
            let reader = FirestoreDb::with_options(options).await?;
            reader.ping().await?;
            Ok(Self { reader, writer })
        };
        timeout(CONNECT_TIMEOUT, connect).await?
    }
}

#[async_trait]
impl Bookings for FirestoreBookings {
    async fn insert(
        &self,
        booking: Booking,
        execution: &Execution,
        response: Response,
    ) -> Result<Response, DatabaseError> {
        let document = Document::from(booking);
        let create =
            self.writer
                .transaction()
                .create(COLLECTION, &document.id.to_string(), &document);
        Ok(execution.commit(create, response).await?)
    }

    async fn get(&self, id: Uuid, whose: &Whose) -> Result<Option<Booking>, DatabaseError> {
        let found = self.reader.fluent().select().by_id_in(COLLECTION).obj();
        let found: Option<Document> = found.one(id.to_string()).await?;
        let found = found.map(Booking::from);
        Ok(found.filter(|booking| whose.has(booking)))
    }

    async fn list(
        &self,
        whose: &Whose,
        after: Option<Uuid>,
        limit: u16,
    ) -> Result<Vec<Booking>, DatabaseError> {
        let after = after.unwrap_or(Uuid::max());
        let (member, first, end) = match whose.owner() {
            None => ("id", String::new(), after.to_string()),
            Some(owner) => (
                "owner_and_id",
                owner_and_id(owner, Uuid::nil()),
                owner_and_id(owner, after),
            ),
        };
        let listed = self.reader.fluent().select().from(COLLECTION);
        let listed = listed
            .filter(|query| {
                query.for_all([
                    query.field(member).greater_than_or_equal(first.as_str()),
                    query.field(member).less_than(end.as_str()),
                ])
            })
            .order(|order| order.fields([order.field(member).desc()]))
            .limit(limit.into());
        let listed: Vec<Document> = listed.obj().query().await?;
        Ok(listed.into_iter().map(Booking::from).collect())
    }

    async fn change(
        &self,
        id: Uuid,
        whose: Whose,
        change: Change,
        execution: &Execution,
        respond: fn(Option<Booking>) -> Response,
    ) -> Result<Response, DatabaseError> {
        for _ in 1..MAX_TRIES {
            let changed = self
                .change_once(id, &whose, change.clone(), execution, respond)
                .await;
            match changed {
                Err(DatabaseError::Commit(error)) if is_conflict(&error) => {}
                ended => return ended,
            }
        }
        self.change_once(id, &whose, change, execution, respond)
            .await
    }

    async fn remove(
        &self,
        id: Uuid,
        whose: Whose,
        execution: &Execution,
        respond: fn(bool) -> Response,
    ) -> Result<Response, DatabaseError> {
        if self.get(id, &whose).await?.is_some() {
            let removal = self.writer.transaction().delete(
                COLLECTION,
                &id.to_string(),
                FirestorePrecondition::Exists,
            );
            match execution.commit(removal, respond(true)).await {
                // Another client removed it in the meantime.
                Err(error) if is_conflict(&error) => {}
                removed => return Ok(removed?),
            }
        }
        Ok(respond(false))
    }

    async fn ping(&self) -> Result<(), DatabaseError> {
        Ok(self.reader.ping().await?)
    }
}

impl fmt::Debug for FirestoreBookings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("FirestoreBookings")
            .field(&self.reader.get_database_path())
            .finish()
    }
}

impl FirestoreBookings {
    /// Changes the booking that it reads, unless another client changes it in the meantime.
    async fn change_once(
        &self,
        id: Uuid,
        whose: &Whose,
        change: Change,
        execution: &Execution,
        respond: fn(Option<Booking>) -> Response,
    ) -> Result<Response, DatabaseError> {
        let found = self.reader.fluent().select().by_id_in(COLLECTION);
        let Some(document) = found.one(id.to_string()).await? else {
            return Ok(respond(None));
        };
        let mut booking = Booking::from(FirestoreDb::deserialize_doc_to::<Document>(&document)?);
        if !whose.has(&booking) {
            return Ok(respond(None));
        }
        booking.apply(change.clone());
        let read_at = document.update_time.map(SystemTime::try_from);
        let expected = match read_at {
            Some(Ok(read_at)) => FirestorePrecondition::UnchangedSince(read_at),
            _ => FirestorePrecondition::Exists,
        };
        let changed = Changed::from(change);
        let transaction = self.writer.transaction();
        let update = if changed.is_empty() {
            transaction
        } else {
            transaction.update(COLLECTION, &id.to_string(), &changed, expected)
        };
        Ok(execution.commit(update, respond(Some(booking))).await?)
    }
}

impl From<FirestoreError> for DatabaseError {
    fn from(error: FirestoreError) -> Self {
        Self::Client(without_payload(&error).into())
    }
}

impl From<idempotency::store::FirestoreStoreError> for DatabaseError {
    fn from(error: idempotency::store::FirestoreStoreError) -> Self {
        Self::Client(Box::new(error))
    }
}

/// Errors are logged, but the texts of the client library name documents and repeat values. Only the parts about the service and
/// the connection are kept.
fn without_payload(error: &FirestoreError) -> String {
    let (what, code) = match error {
        FirestoreError::SystemError(_) | FirestoreError::NetworkError(_) => {
            return error.to_string();
        }
        FirestoreError::DatabaseError(inner) => {
            const OF_THE_SERVICE: [&str; 6] = [
                "Cancelled",
                "DeadlineExceeded",
                "PermissionDenied",
                "ResourceExhausted",
                "Unauthenticated",
                "Unavailable",
            ];
            if OF_THE_SERVICE.contains(&inner.public.code.as_str()) {
                return error.to_string();
            }
            ("Firestore refused a call", &inner.public.code)
        }
        FirestoreError::DataConflictError(inner) => ("documents conflict", &inner.public.code),
        FirestoreError::DataNotFoundError(inner) => ("a document is not there", &inner.public.code),
        FirestoreError::SerializeError(inner) | FirestoreError::DeserializeError(inner) => (
            "a document cannot be written or read as a booking",
            &inner.public.code,
        ),
        FirestoreError::InvalidParametersError(_)
        | FirestoreError::ErrorInTransaction(_)
        | FirestoreError::CacheError(_) => return "a call of Firestore is wrong".to_owned(),
    };
    format!("{what}: {code}")
}

fn is_conflict(error: &CommitError) -> bool {
    matches!(error, CommitError::Failed(source) if source.is::<FirestoreConflict>())
}

#[cfg(test)]
mod tests {
    use firestore::errors::{
        FirestoreDatabaseError, FirestoreErrorPublicGenericDetails, FirestoreSerializationError,
    };

    use super::*;

    fn refused(code: &str, details: &str) -> FirestoreError {
        let public = FirestoreErrorPublicGenericDetails::new(code.to_owned());
        let error = FirestoreDatabaseError::new(public, details.to_owned(), false);
        FirestoreError::DatabaseError(error)
    }

    #[test]
    fn an_error_of_firestore_names_no_document_and_no_value() {
        let mut unreadable = FirestoreSerializationError::from_message("secret is not a date");
        unreadable.document_path = Some("bookings/secret".to_owned());
        for error in [
            refused("InvalidArgument", "bookings/secret has the value 17"),
            refused("FailedPrecondition", "bookings/secret"),
            FirestoreError::DeserializeError(unreadable),
        ] {
            let text = DatabaseError::from(error).to_string();
            assert!(!text.contains("secret") && !text.contains("17"), "{text}");
        }
        let silent = refused("Unavailable", "tcp connect error").into();
        let text = DatabaseError::to_string(&silent);
        assert!(text.contains("tcp connect error"), "{text}");
    }
}
