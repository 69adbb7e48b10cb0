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
    admin::{LIST_TIMEOUT, own_label, within},
    app::App,
    caller::Caller,
    error::ApiError,
    keys::{Filter, Position, View},
};

/// How many keys the table has.
const MAX_SHOWN: usize = 20;

/// How many keys are looked at for it. Stores list them by their digests, so the newest of more are not found.
const MAX_READ: usize = 256;

/// The newest keys, without their responses: phase, attempt, lease and expiry of each.
#[utoipa::path(
    get,
    path = "/page/keys",
    tag = "keys",
    responses((status = OK, description = "At most 20 keys of the first 256 in the order of their digests.", body = Object)),
)]
pub(crate) async fn show_keys(
    State(app): State<App>,
    caller: Caller,
) -> Result<Response, ApiError> {
    let idempotency = &app.idempotency;
    let filter = Filter {
        label: own_label(idempotency, &caller),
        ..Filter::default()
    };
    let read = async {
        let mut position = Position::Start;
        let mut found = Vec::new();
        loop {
            let page = filter.next(idempotency, &mut position).await?;
            if page.is_empty() || found.len() >= MAX_READ {
                return Ok::<_, ApiError>((found, !page.is_empty()));
            }
            let since = |listed: &_| created_at(listed).unwrap_or(SystemTime::UNIX_EPOCH);
            found.extend(
                page.iter()
                    .map(|listed| (since(listed), View::of(idempotency, listed))),
            );
        }
    };
    let (mut found, has_more) = within(LIST_TIMEOUT, read).await?;
    let count = found.len();
    found.sort_by_key(|(created_at, _)| Reverse(*created_at));
    found.truncate(MAX_SHOWN);
    let keys: Vec<_> = found.into_iter().map(|(_, view)| view).collect();
    let table = json!({
        // The page counts down by this clock, not by its own.
        "now": DateTime::<Utc>::from(SystemTime::now()).to_rfc3339_opts(SecondsFormat::Millis, true),
        "keys": keys,
        "count": count,
        "has_more": has_more,
    });
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(table)).into_response())
}

fn created_at(listed: &idempotency::store::Listed) -> Option<SystemTime> {
    listed.record.as_ref().ok()?.created_at
}
