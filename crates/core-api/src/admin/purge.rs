//! Removes expired records.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::{KEY_TIMEOUT, who, within};
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
    let under_way = app.changes.begin().await;
    // A client that leaves stops nothing: what came of it is in the log.
    let purging = tokio::spawn(async move {
        let _under_way = under_way;
        purge(&app.idempotency, &who, PURGED_AT_ONCE, |_| {}).await
    });
    let purged = within(KEY_TIMEOUT, async {
        let purged = purging.await.map_err(|_| ApiError::Panicked)?;
        purged.map_err(ApiError::from)
    });
    let removed = purged.await?;
    Ok(Json(json!({ "removed": removed })).into_response())
}
