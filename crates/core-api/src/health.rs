//! What orchestrators ask.

use axum::{Json, extract::State};
use serde_json::{Value, json};

use crate::{app::App, error::ApiError};

/// Says that the process lives.
///
/// It looks at no store, so an orchestrator that restarts what does not respond does not restart a service whose database is down.
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
/// To read is not enough: a store that is full, or has become a replica, still reads, while each write to bookings is 503.
/// A server that only reads makes the service unready, though it could still list bookings: the service is there for writes,
/// and a standby's bookings and keys may be out of date.
///
/// A file of the tokens that cannot be used is said, as `"tokens": "stale"`, and does not make the service unready. All services read the
/// same file at once, so a mistake in it would take every one of them out of rotation, while each still serves the tokens that it
/// read before. Alert on it instead: what was revoked since is still let in.
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
