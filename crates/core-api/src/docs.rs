//! A page that shows the description of the service and sends requests: `GET /docs`.
//!
//! It has 200 lines and loads nothing from elsewhere. Swagger UI would add four megabytes to the program, needs a policy that allows styles from
//! everywhere, and does not support keys: this page makes a new key for each request, and can send the same request again.

use axum::response::Response;

use crate::assets;

/// The description as a page that can send requests.
///
/// The page makes a new key for each request, and can send the same request again.
#[utoipa::path(
    get,
    path = "/docs",
    tag = "documentation",
    responses((status = OK, description = "The page.", content_type = "text/html", body = String)),
)]
pub(crate) async fn show_docs() -> Response {
    assets::html(include_str!("docs/page.html"))
}

/// The script of the page.
///
/// It is part of the program, so the page needs no other server.
#[utoipa::path(
    get,
    path = "/docs/page.js",
    tag = "documentation",
    responses((status = OK, description = "The script.", content_type = "text/javascript", body = String)),
)]
pub(crate) async fn docs_script() -> Response {
    assets::script(include_str!("docs/page.js"))
}

/// The style of the page.
///
/// It follows the reader's choice of light or dark.
#[utoipa::path(
    get,
    path = "/docs/page.css",
    tag = "documentation",
    responses((status = OK, description = "The style.", content_type = "text/css", body = String)),
)]
pub(crate) async fn docs_style() -> Response {
    assets::style(include_str!("docs/page.css"))
}
