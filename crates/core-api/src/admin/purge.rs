//! Removes expired records.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::{under_way, who};
use crate::{
    app::App,
    caller::Caller,
    error::ApiError,
    keys::{PURGED_AT_ONCE, purge},
};

/// `POST /admin/keys/purge`: responds with how many there were. If as many as can be removed at once, there may be more.
pub(super) async fn purge_keys(
    State(app): State<App>,
    caller: Caller,
) -> Result<Response, ApiError> {
    let who = who(&caller);
    let changes = app.changes.clone();
    let purging = async move { purge(&app.idempotency, &who, PURGED_AT_ONCE, |_| {}).await };
    let removed = under_way(&changes, purging).await?;
    Ok(Json(json!({ "removed": removed })).into_response())
}
