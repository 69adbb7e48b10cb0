//! The newest keys, for the page's table.

use std::{cmp::Reverse, time::SystemTime};

use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::json;

use crate::{
    admin::{self, Page},
    app::App,
    caller::Caller,
    error::ApiError,
    keys::View,
};

/// How many keys the table has.
const MAX_SHOWN: usize = 20;

/// How many keys are read for it. Stores list keys by their digests, so with more keys than this the newest may be missing.
const MAX_READ: usize = 256;

/// The newest keys, without their responses: phase, attempt, lease and expiry of each.
///
/// With tokens a subject sees its own keys. Stores list keys by their digests, so with more than 256 keys the newest may be missing.
#[utoipa::path(
    get,
    path = "/page/keys",
    tag = "keys",
    responses((
        status = OK,
        description = "At most 20 keys of the first 256 in the order of their digests.",
        body = Object,
        example = json!({"count": 1, "has_more": false, "keys": [{"id": "7bc51a95365aafc74b5a2701379ee873e51c658fd873519dd372eb9decd17310", "phase": "done", "attempt": 1, "route": "POST /bookings"}]}),
    )),
)]
pub(crate) async fn show_keys(
    State(app): State<App>,
    caller: Caller,
) -> Result<Response, ApiError> {
    let Page { mut views, next } = admin::first_keys(&app.idempotency, &caller, MAX_READ).await?;
    let count = views.len();
    views.sort_by_key(|view| match view {
        View::Readable(summary) => Reverse(summary.created),
        View::Unreadable { .. } => Reverse(None),
    });
    views.truncate(MAX_SHOWN);
    let table = json!({
        // The page counts down by this clock instead of the browser's.
        "now": DateTime::<Utc>::from(SystemTime::now()).to_rfc3339_opts(SecondsFormat::Millis, true),
        "keys": views,
        "count": count,
        "has_more": next.is_some(),
    });
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(table)).into_response())
}
