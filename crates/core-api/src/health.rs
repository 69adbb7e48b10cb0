//! Health for orchestrators.

use axum::{Json, extract::State};
use serde_json::{Value, json};

use crate::{app::App, error::ApiError};

/// Says that the process is alive.
///
/// It does not access the stores, so an orchestrator does not restart a service only because its database is down.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "health",
    responses((status = OK, description = "The process lives.", body = Object, example = json!({"status": "alive"}))),
)]
pub(crate) async fn alive() -> Json<Value> {
    Json(json!({"status": "alive"}))
}

/// Says whether the database and the store of the keys can be read and written. Writes are tried at most once a second.
///
/// Reading is not enough: a store that is full, or has become a replica, can still be read, while every write to bookings gets 503.
/// With a read-only server the service is not ready, although it could still list bookings: the service exists for writes,
/// and a standby's bookings and keys may be out of date.
///
/// A token file that cannot be used, or that could not be read for ten seconds, is reported as `"tokens": "stale"` and does not make the service unready. All services read the
/// same file, so a mistake in it would take all of them out of rotation, while each still accepts the tokens that it read before.
/// Alert on it instead, or on the gauge `core_api_tokens_stale`: tokens revoked since then are still accepted.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "health",
    responses((status = OK, description = "Bookings can be written.", body = Object, example = json!({"status": "ready"}))),
)]
pub(crate) async fn ready(State(app): State<App>) -> Result<Json<Value>, ApiError> {
    let bookings = app.bookings.as_ref();
    app.probe.run(bookings, &app.idempotency).await?;
    let mut state = json!({"status": "ready"});
    if app.tokens.is_some_and(|tokens| tokens.is_stale()) {
        state["tokens"] = "stale".into();
    }
    Ok(Json(state))
}
