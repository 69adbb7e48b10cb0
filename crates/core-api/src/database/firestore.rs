//! Bookings in Google's Firestore, where several processes share them.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use axum::response::Response;
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use firestore::{
    FirestoreDb, FirestoreDbOptions, FirestoreWritePrecondition, errors::FirestoreError,
};
use idempotency::Execution;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use uuid::Uuid;

use super::{Bookings, DatabaseError};
use crate::bookings::{Booking, Change, Status};

/// The collection `bookings` of a project; each document has the id of its booking.
pub(super) struct FirestoreBookings(FirestoreDb);

const COLLECTION: &str = "bookings";

/// How long the start waits for an answer.
const MOST_TO_CONNECT: Duration = Duration::from_secs(10);

/// How long one call may take; the client library then makes another.
const MOST_PER_CALL: Duration = Duration::from_secs(3);

/// The members are text, so that Google's console shows them as clients do. Ids of version 7 begin with the time, so
/// that their order is that of creation.
#[derive(Debug, Serialize, Deserialize)]
struct Document {
    id: Uuid,
    service_id: String,
    customer_name: String,
    date: NaiveDate,
    time: NaiveTime,
    status: Status,
    created_at: DateTime<Utc>,
}

/// The members of a document that change.
#[derive(Debug, Serialize, Deserialize)]
struct Changed {
    #[serde(skip_serializing_if = "Option::is_none")]
    service_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    date: Option<NaiveDate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<NaiveTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
}

impl FirestoreBookings {
    /// Of the emulator that `FIRESTORE_EMULATOR_HOST` names, else of Google.
    pub(super) async fn connect(project: &str) -> Result<Self, DatabaseError> {
        let options = FirestoreDbOptions::new(project.to_owned())
            .with_request_timeout(MOST_PER_CALL)
            .with_max_retries(1);
        let connect = async {
            let database = FirestoreDb::with_options(options).await?;
            database.ping().await?;
            Ok(Self(database))
        };
        timeout(MOST_TO_CONNECT, connect)
            .await
            .unwrap_or(Err(DatabaseError::Silent))
    }
}

#[async_trait]
impl Bookings for FirestoreBookings {
    async fn insert(
        &self,
        booking: Booking,
        _execution: &Execution,
        answer: Response,
    ) -> Result<Response, DatabaseError> {
        // Not a create, which would fail when it is repeated after its answer was lost. The id is new all the same.
        let inserted = self.0.fluent().update().in_col(COLLECTION);
        let document = Document::from(booking);
        let inserted = inserted.document_id(document.id.to_string());
        inserted.object(&document).execute::<()>().await?;
        Ok(answer)
    }

    async fn get(&self, id: Uuid) -> Result<Option<Booking>, DatabaseError> {
        let found = self.0.fluent().select().by_id_in(COLLECTION).obj();
        let found: Option<Document> = found.one(id.to_string()).await?;
        Ok(found.map(Booking::from))
    }

    async fn list(&self, after: Option<Uuid>, limit: u16) -> Result<Vec<Booking>, DatabaseError> {
        let after = after.unwrap_or(Uuid::max()).to_string();
        let listed = self.0.fluent().select().from(COLLECTION);
        let listed = listed
            .filter(|query| query.field("id").less_than(after.as_str()))
            .order(|order| order.fields([order.field("id").desc()]))
            .limit(limit.into());
        let listed: Vec<Document> = listed.obj().query().await?;
        Ok(listed.into_iter().map(Booking::from).collect())
    }

    async fn change(
        &self,
        id: Uuid,
        change: Change,
        _execution: &Execution,
        answer: fn(Option<Booking>) -> Response,
    ) -> Result<Response, DatabaseError> {
        let changed = Changed::from(change);
        let members = changed.members();
        if members.is_empty() {
            return Ok(answer(self.get(id).await?));
        }
        let update = self.0.fluent().update().fields(members).in_col(COLLECTION);
        let update = update
            .precondition(FirestoreWritePrecondition::Exists(true))
            .document_id(id.to_string());
        let document: Result<Document, _> = update.object(&changed).execute().await;
        Ok(answer(if_there(document)?.map(Booking::from)))
    }

    async fn remove(
        &self,
        id: Uuid,
        _execution: &Execution,
        answer: fn(bool) -> Response,
    ) -> Result<Response, DatabaseError> {
        let removal = self.0.fluent().delete().from(COLLECTION);
        let removal = removal
            .precondition(FirestoreWritePrecondition::Exists(true))
            .document_id(id.to_string());
        Ok(answer(if_there(removal.execute().await)?.is_some()))
    }

    async fn ping(&self) -> Result<(), DatabaseError> {
        Ok(self.0.ping().await?)
    }
}

impl fmt::Debug for FirestoreBookings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("FirestoreBookings")
            .field(&self.0.get_database_path())
            .finish()
    }
}

impl Changed {
    /// The names of those that are there.
    fn members(&self) -> Vec<&'static str> {
        let members = [
            ("service_id", self.service_id.is_some()),
            ("customer_name", self.customer_name.is_some()),
            ("date", self.date.is_some()),
            ("time", self.time.is_some()),
            ("status", self.status.is_some()),
        ];
        let there = members.into_iter().filter(|(_, is_there)| *is_there);
        there.map(|(name, _)| name).collect()
    }
}

impl From<Change> for Changed {
    fn from(change: Change) -> Self {
        let Change {
            service_id,
            customer_name,
            date,
            time,
            status,
        } = change;
        Self {
            service_id,
            customer_name,
            date,
            time,
            status,
        }
    }
}

impl From<Booking> for Document {
    fn from(booking: Booking) -> Self {
        Self {
            id: booking.id,
            service_id: booking.service_id,
            customer_name: booking.customer_name,
            date: booking.date,
            time: booking.time,
            status: booking.status,
            created_at: booking.created_at,
        }
    }
}

impl From<Document> for Booking {
    fn from(document: Document) -> Self {
        Self {
            id: document.id,
            service_id: document.service_id,
            customer_name: document.customer_name,
            date: document.date,
            time: document.time,
            status: document.status,
            created_at: document.created_at,
        }
    }
}

/// What a call on a document gave that has to be there, if it was.
fn if_there<T>(result: Result<T, FirestoreError>) -> Result<Option<T>, FirestoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(FirestoreError::DataNotFoundError(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
