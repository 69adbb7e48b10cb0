//! A page at `/` where people book, retry and break things, and see the response to each attempt.
//!
//! The page itself has no data and needs no token. It loads its data by requests, which do need one.

mod keys;

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::header,
    middleware,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    admin::turns::{self, Turns},
    app::App,
    assets,
    error::ApiError,
};

/// A page to try the service in a browser.
///
/// Its buttons book, retry and break things, and it shows the response to each attempt. The page itself has no data.
#[utoipa::path(
    get,
    path = "/",
    tag = "page",
    responses((status = OK, description = "The page.", content_type = "text/html", body = String)),
)]
pub(crate) async fn show_page() -> Response {
    assets::html(include_str!("page/page.html"))
}

/// The files of the page.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
pub(crate) enum PageFile {
    #[serde(rename = "page.css")]
    Style,
    #[serde(rename = "page.js")]
    Script,
    #[serde(rename = "attempt.js")]
    Attempt,
    #[serde(rename = "dom.js")]
    Dom,
    #[serde(rename = "live.js")]
    Live,
    #[serde(rename = "timeline.js")]
    Timeline,
}

/// A script or stylesheet of the page.
///
/// The files are part of the program, so the page needs no other server.
#[utoipa::path(
    get,
    path = "/page/{file}",
    tag = "page",
    params(("file" = inline(PageFile), Path, description = "The name of the file.")),
    responses((status = OK, description = "The file.", content((String = "text/javascript"), (String = "text/css")))),
)]
pub(crate) async fn page_file(file: Result<Path<PageFile>, PathRejection>) -> Response {
    let Ok(Path(file)) = file else {
        return ApiError::UnknownRoute.into_response();
    };
    match file {
        PageFile::Style => assets::style(include_str!("page/page.css")),
        PageFile::Script => assets::script(include_str!("page/page.js")),
        PageFile::Attempt => assets::script(include_str!("page/attempt.js")),
        PageFile::Dom => assets::script(include_str!("page/dom.js")),
        PageFile::Live => assets::script(include_str!("page/live.js")),
        PageFile::Timeline => assets::script(include_str!("page/timeline.js")),
    }
}

/// What the page needs to know about the service.
///
/// It says whether requests need a token, whether there is a page at `/docs`, whether clients can inject a crash, and what a crash loses.
#[utoipa::path(
    get,
    path = "/page/service",
    tag = "page",
    responses((
        status = OK,
        description = "The settings of the service that the page needs.",
        body = Object,
        example = json!({"needs_token": false, "fault_injection": false, "can_crash": false, "one_commit": true, "docs": true, "bookings_survive": true, "keys_survive": true}),
    )),
)]
pub(crate) async fn page_service(State(app): State<App>) -> Response {
    let service = json!({
        "needs_token": app.tokens.is_some(),
        "fault_injection": app.fault_injection,
        "can_crash": app.fault_injection && app.supervised.is_some(),
        "one_commit": app.transactional,
        "docs": cfg!(feature = "swagger-ui"),
        "bookings_survive": app.bookings_survive,
        "keys_survive": app.keys_survive,
    });
    ([(header::CACHE_CONTROL, "no-store")], Json(service)).into_response()
}

/// The table of keys. With tokens a subject sees its own keys, as on the operators' routes.
pub(crate) fn key_routes() -> OpenApiRouter<App> {
    let limit = middleware::from_fn_with_state(Turns::default(), turns::limit);
    OpenApiRouter::new()
        .routes(routes!(keys::show_keys))
        .route_layer(limit)
}
