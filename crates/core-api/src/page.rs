//! A page at `/` on which people book, retry and break things, and see what each attempt got.
//!
//! The page holds no data, so it needs no token; what it shows comes by requests of its own, which do.

mod keys;

use axum::{
    Json,
    extract::{Path, State},
    http::header,
    middleware,
    response::{IntoResponse, Response},
};
use serde_json::json;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    admin::turns::{self, Turns},
    app::App,
    assets,
    error::ApiError,
};

/// The page for people who would rather look than read.
#[utoipa::path(
    get,
    path = "/",
    tag = "documentation",
    responses((status = OK, description = "The page.", content_type = "text/html", body = String)),
)]
pub(crate) async fn show_page() -> Response {
    assets::html(include_str!("page/page.html"))
}

/// A script or a style of the page.
#[utoipa::path(
    get,
    path = "/page/{file}",
    tag = "documentation",
    params(("file" = String, Path, description = "The name of the file.")),
    responses((status = OK, description = "The file.", body = String, content_type = "text/javascript")),
)]
pub(crate) async fn page_file(Path(file): Path<String>) -> Response {
    match file.as_str() {
        "page.css" => assets::style(include_str!("page/page.css")),
        "page.js" => assets::script(include_str!("page/page.js")),
        "attempt.js" => assets::script(include_str!("page/attempt.js")),
        "dom.js" => assets::script(include_str!("page/dom.js")),
        "live.js" => assets::script(include_str!("page/live.js")),
        "timeline.js" => assets::script(include_str!("page/timeline.js")),
        _ => ApiError::UnknownRoute.into_response(),
    }
}

/// What the page has to know of the service, such as whether a crash can be ordered, and what is lost by one.
#[utoipa::path(
    get,
    path = "/page/service",
    tag = "documentation",
    responses((status = OK, description = "What the service was started with.", body = Object)),
)]
pub(crate) async fn page_service(State(app): State<App>) -> Response {
    let service = json!({
        "needs_token": app.tokens.is_some(),
        "fault_injection": app.fault_injection,
        "can_crash": app.fault_injection && app.supervised.is_some(),
        "one_commit": app.transactional,
        "bookings_survive": app.bookings_survive,
        "keys_survive": app.keys_survive,
    });
    ([(header::CACHE_CONTROL, "no-store")], Json(service)).into_response()
}

/// The table of keys. With tokens it shows a subject its own, as operators' routes do.
pub(crate) fn key_routes() -> OpenApiRouter<App> {
    let limit = middleware::from_fn_with_state(Turns::default(), turns::limit);
    OpenApiRouter::new()
        .routes(routes!(keys::show_keys))
        .route_layer(limit)
}
