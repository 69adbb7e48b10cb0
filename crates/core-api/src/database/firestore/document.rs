//! A booking as a document.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::booking::{Booking, Change, Status};

/// The members are text, so that Google's console shows them as responses do. Ids of version 7 begin with the time, so
/// they sort by creation.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Document {
    pub(super) id: Uuid,
    pub(super) service_id: String,
    pub(super) customer_name: String,
    pub(super) date: NaiveDate,
    pub(super) time: NaiveTime,
    pub(super) status: Status,
    pub(super) created_at: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) owner: Option<String>,
    /// Owner and id, for the bookings of one owner, newest first: Firestore indexes a single member by itself, but not a range of
    /// one member for a value of another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) owner_and_id: Option<String>,
}

/// The members of a document that change.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Changed {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) service_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) customer_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) date: Option<NaiveDate>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) time: Option<NaiveTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<Status>,
}

impl Changed {
    pub(super) fn is_empty(&self) -> bool {
        let Self {
            service_id,
            customer_name,
            date,
            time,
            status,
        } = self;
        let texts = service_id.is_none() && customer_name.is_none();
        texts && date.is_none() && time.is_none() && status.is_none()
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
            owner_and_id: booking
                .owner
                .as_deref()
                .map(|owner| owner_and_id(owner, booking.id)),
            owner: booking.owner.as_deref().map(Into::into),
        }
    }
}

/// An owner never contains a space, so the bookings of one owner are contiguous.
pub(super) fn owner_and_id(owner: &str, id: Uuid) -> String {
    format!("{owner} {id}")
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
            owner: document.owner.map(Into::into),
        }
    }
}
