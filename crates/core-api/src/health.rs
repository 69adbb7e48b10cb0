//! What orchestrators ask.

use axum::{Json, extract::State};
use idempotency::{IdempotencyKey, Scope};
use serde_json::{Value, json};

use crate::{app::App, error::ApiError};

/// `GET /healthz`: the process lives.
pub(crate) async fn alive() -> Json<Value> {
    Json(json!({"status": "alive"}))
}

/// `GET /readyz`: the database and the store of the keys answer, and a PostgreSQL server among them takes writes. Nothing is
/// written for it.
///
/// A server that only reads makes the service unready, though it could still list bookings: what it is there for are writes,
/// and a standby's bookings and keys may be out of date.
pub(crate) async fn ready(State(app): State<App>) -> Result<Json<Value>, ApiError> {
    app.bookings.ping().await?;
    let key = IdempotencyKey::new("readyz").expect("six letters are a key");
    let id = app.idempotency.record_id(&Scope::principal("readyz"), &key);
    app.idempotency.store().inspect(&id).await?;
    Ok(Json(json!({"status": "ready"})))
}
