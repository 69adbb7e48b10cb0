//! A key by its subject and by the key itself, which only the service can turn into an id: it has the secret.

use axum::{extract::State, http::HeaderMap, response::Response};

use super::{KEY_TIMEOUT, input::NamedQuery, show, within};
use crate::{
    app::App,
    caller::Caller,
    error::ApiError,
    keys::{self, find_named, key_in},
};

/// `GET /admin/keys/by-key?subject=…`, with the key in the field `Idempotency-Key`.
pub(super) async fn show_named(
    State(app): State<App>,
    caller: Caller,
    named: NamedQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    // The owner of a key asks at `/bookings/by-key`.
    if !caller.is_operator() {
        return Err(ApiError::NotAllowed);
    }
    let key = key_in(&headers).map_err(|why| ApiError::Malformed(why.into()))?;
    let scope = keys::scope(named.subject.as_str(), named.operator);
    let idempotency = &app.idempotency;
    let find = async { Ok(find_named(idempotency, &scope, &key).await?) };
    let record = within(KEY_TIMEOUT, find).await?;
    let record = record.ok_or(ApiError::UnknownKey)?;
    show(idempotency, &caller, &record, named.with_body)
}
