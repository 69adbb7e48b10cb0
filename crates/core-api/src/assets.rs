//! The files of the service's pages, compiled into the program.

use axum::{
    body::Body,
    http::header,
    response::{IntoResponse, Response},
};

/// Allows only scripts, styles and requests of this service: neither another origin nor text in the page can run a script.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) fn html(text: impl Into<Body>) -> Response {
    file("text/html; charset=utf-8", text.into())
}

pub(crate) fn script(text: impl Into<Body>) -> Response {
    file("text/javascript; charset=utf-8", text.into())
}

pub(crate) fn style(text: impl Into<Body>) -> Response {
    file("text/css; charset=utf-8", text.into())
}

fn file(content_type: &'static str, text: Body) -> Response {
    let fields = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (fields, text).into_response()
}
