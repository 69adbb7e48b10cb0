//! How the fields of a booking are written, and read where they are no part of a body.

use axum::{
    extract::{FromRequestParts, Path},
    http::request::Parts,
};
use chrono::{DateTime, NaiveTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize, Serializer};
use uuid::Uuid;

use crate::error::ApiError;

/// Whether a booking holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Confirmed,
    Cancelled,
}

impl Status {
    /// The status of this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Confirmed, Self::Cancelled]
            .into_iter()
            .find(|status| status.name() == name)
    }

    /// As it is stored, and shown to clients.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The booking that the path names. One that cannot be an id is an id that nobody has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BookingId(pub(crate) Uuid);

impl<S: Send + Sync> FromRequestParts<S> for BookingId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(id)) => Ok(Self(id)),
            Err(_) => Err(ApiError::UnknownBooking),
        }
    }
}

pub(super) fn hours_and_minutes<S: Serializer>(
    time: &NaiveTime,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&time.format("%H:%M"))
}

pub(super) fn milliseconds<S: Serializer>(
    time: &DateTime<Utc>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Millis, true))
}
