//! The first response of a key, for its owner: a client that got 422 no longer knows what it sent first.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use idempotency::operators::StoredResponse;
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::{
    app::App,
    caller::Caller,
    database::DatabaseError,
    error::ApiError,
    keys::{date, find_named, key_in},
};

/// The response to the first request with a key.
#[derive(Serialize, ToSchema)]
pub(crate) struct MadeByKey {
    /// The status of the response.
    #[schema(minimum = 200, maximum = 599)]
    status: u16,
    /// The path of what the request made.
    #[schema(required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    /// The body of the response: its JSON, or its text.
    #[schema(value_type = Object)]
    body: Value,
    /// When the response was stored.
    #[schema(required = false, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_at: Option<String>,
    /// How long a retry receives it.
    #[schema(format = DateTime)]
    expires_at: String,
}

/// The same time as for other calls of the store.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where a client asks.
pub(crate) const PATH: &str = "/bookings/by-key";

/// Shows what a key has made.
///
/// A key that was used for another request is refused with 422. This operation shows the response to its first request: send the key in the
/// field `Idempotency-Key`, with a token of the same subject. A key of another subject gets 404, like a key for which nothing is stored. The
/// request of such a key may still be under way, so a 404 does not mean that it will have no effect. This operation runs nothing.
#[utoipa::path(
    get,
    path = "/bookings/by-key",
    tag = "bookings",
    params(("Idempotency-Key" = String, Header, description = "The key.", example = "7e0b5145-1d2c-4f0e-9f2a-8c3d9a1b2c3d")),
    responses((
        status = OK,
        description = "The response to the first request with the key.",
        body = MadeByKey,
        headers(("Location" = String, description = "The path of what the request made, if anything.")),
    )),
)]
pub(crate) async fn show_by_key(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let key = key_in(&headers).map_err(|why| ApiError::Malformed(why.into()))?;
    let scope = caller.key_scope().ok_or(ApiError::NoOwners)?;
    let found = timeout(TIMEOUT, find_named(&app.idempotency, &scope, &key)).await;
    let found = found.map_err(|_| ApiError::Database(DatabaseError::TimedOut))??;
    let record = found.ok_or(ApiError::NothingByKey)?;
    let response = match app.idempotency.stored_response(&record)? {
        StoredResponse::Kept(response) => response,
        StoredResponse::NotStored => {
            return Err(phase(
                "The key's run is completed, and its response was not stored.",
            ));
        }
        StoredResponse::Erased => {
            return Err(phase(
                "The key's run is completed, and its response was erased.",
            ));
        }
        _ => return Err(phase("The key's run has not ended. Ask again later.")),
    };
    let location = response.headers().get(header::LOCATION).cloned();
    let text = String::from_utf8_lossy(response.body());
    let made = MadeByKey {
        status: response.status().as_u16(),
        location: location
            .as_ref()
            .and_then(|location| Some(location.to_str().ok()?.to_owned())),
        body: serde_json::from_str(&text).unwrap_or_else(|_| text.into()),
        completed_at: record.completed_at.map(date),
        expires_at: date(record.expires_at),
    };
    let location = location.map(|location| [(header::LOCATION, location)]);
    let no_store = [(header::CACHE_CONTROL, "no-store")];
    Ok((location, no_store, Json(made)).into_response())
}

const fn phase(detail: &'static str) -> ApiError {
    ApiError::KeyPhase(std::borrow::Cow::Borrowed(detail))
}
