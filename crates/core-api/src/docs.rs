//! A page that shows the description of the service and sends requests: `GET /docs`.
//!
//! It is the service's own, in 200 lines, and needs nothing from elsewhere. Swagger UI is four megabytes in the program, needs a policy that lets in
//! styles from everywhere, and knows nothing of keys: this page makes a new one for each request, and sends the same again.

use axum::{
    http::header,
    response::{IntoResponse, Response},
};

/// Scripts, styles and requests of this service only: neither another origin nor text in the page can run anything.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Shows this description as a page that can send requests.
#[utoipa::path(
    get,
    path = "/docs",
    tag = "documentation",
    responses((status = OK, description = "The page.", content_type = "text/html", body = String)),
)]
pub(crate) async fn show_docs() -> Response {
    file("text/html; charset=utf-8", include_str!("docs/page.html"))
}

/// The script of the page.
#[utoipa::path(
    get,
    path = "/docs/page.js",
    tag = "documentation",
    responses((status = OK, description = "The script.", content_type = "text/javascript", body = String)),
)]
pub(crate) async fn docs_script() -> Response {
    file(
        "text/javascript; charset=utf-8",
        include_str!("docs/page.js"),
    )
}

/// The style of the page.
#[utoipa::path(
    get,
    path = "/docs/page.css",
    tag = "documentation",
    responses((status = OK, description = "The style.", content_type = "text/css", body = String)),
)]
pub(crate) async fn docs_style() -> Response {
    file("text/css; charset=utf-8", include_str!("docs/page.css"))
}

fn file(content_type: &'static str, text: &'static str) -> Response {
    let fields = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (fields, text).into_response()
}
