//! One page of a list: `?limit=` and `?after=`.

use axum::{
    extract::{FromRequestParts, Query},
    http::request::Parts,
};
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use crate::error::ApiError;

/// Up to `limit` bookings, only those older than `after`.
#[derive(Debug, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Page {
    /// The greatest number of bookings on the page.
    #[param(minimum = 1, maximum = 1000, default = 100, required = false)]
    pub(crate) limit: u16,
    /// The id of the booking after which the page begins: the last one of the page before.
    #[param(nullable = false)]
    pub(crate) after: Option<Uuid>,
}

impl Page {
    /// The Link header field to the page that begins after this booking.
    pub(crate) fn next(&self, last: Uuid) -> String {
        let limit = self.limit;
        format!("</bookings?limit={limit}&after={last}>; rel=\"next\"")
    }
}

#[derive(Deserialize)]
struct RawPage {
    limit: Option<String>,
    after: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Page {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let malformed = |detail: &'static str| ApiError::Malformed(detail.into());
        let Query(raw) = Query::<RawPage>::from_request_parts(parts, state)
            .await
            .map_err(|_| malformed("The query may have limit and after, each once."))?;
        let limit = match raw.limit.as_deref().map(str::parse) {
            None => 100,
            Some(Ok(limit @ 1..=1000)) => limit,
            Some(_) => return Err(malformed("limit must be a whole number from 1 to 1000.")),
        };
        let after = match raw.after.as_deref().map(str::parse) {
            None => None,
            Some(Ok(id)) => Some(id),
            Some(Err(_)) => {
                return Err(malformed(
                    "after must be the id of the booking after which the page begins.",
                ));
            }
        };
        Ok(Self { limit, after })
    }
}
