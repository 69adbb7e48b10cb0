//! The booking that a path names.

use axum::{
    extract::{FromRequestParts, Path},
    http::request::Parts,
};
use uuid::Uuid;

use crate::error::ApiError;

/// The id in the path. Text that is not an id gets the response for an unknown booking.
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
