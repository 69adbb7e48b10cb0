//! The attribute with other attributes, in either order.

#![deny(warnings)]
#![expect(clippy::allow_attributes, reason = "handlers may be written like that")]

use axum::{Router, extract::State, routing::post};
use idempotency::idempotent;

use crate::support::{protected, runs_once};

#[idempotent]
#[axum::debug_handler]
async fn debugged_below(body: String) -> String {
    body
}

#[axum::debug_handler]
#[idempotent]
async fn debugged_above(body: String) -> String {
    body
}

#[axum::debug_handler(state = u8)]
#[idempotent(ttl_seconds = 60)]
async fn debugged_with_state(State(number): State<u8>, mut body: String) -> Result<String, String> {
    body.push_str(&number.to_string());
    Ok(body)
}

#[idempotent]
#[tracing::instrument(skip_all, fields(length = body.len()))]
async fn traced_below(body: String) -> String {
    body
}

#[tracing::instrument(skip_all, err)]
#[idempotent]
async fn traced_above(body: String) -> Result<String, String> {
    Ok(body)
}

#[tracing::instrument]
#[axum::debug_handler]
#[idempotent]
async fn traced_and_debugged(body: String) -> &'static str {
    match body.as_str() {
        "{}" => "object",
        _ => "other",
    }
}

#[idempotent]
#[must_use]
#[allow(unused_variables)]
async fn linted(body: String) -> &'static str {
    "linted"
}

#[idempotent]
#[allow(dead_code)]
async fn allowed_to_be_unused() {}

#[idempotent]
#[expect(dead_code, reason = "the lint must reach the name")]
async fn expected_to_be_unused() {}

#[idempotent]
#[cfg(false)]
async fn left_out() -> Missing {}

#[idempotent]
#[cfg(true)]
#[cfg_attr(true, axum::debug_handler)]
#[cfg_attr(false, missing::attribute)]
async fn left_in() -> &'static str {
    "in"
}

#[idempotent]
#[deprecated = "the name is, and not the function inside"]
async fn old() -> &'static str {
    "old"
}

#[tokio::test]
async fn a_handler_with_other_attributes_replays() {
    let routes = Router::new()
        .route("/debugged_below", post(debugged_below))
        .route("/debugged_above", post(debugged_above))
        .route("/debugged_with_state", post(debugged_with_state))
        .route("/traced_below", post(traced_below))
        .route("/traced_above", post(traced_above))
        .route("/traced_and_debugged", post(traced_and_debugged))
        .route("/linted", post(linted))
        .route("/left_in", post(left_in));
    #[expect(deprecated, reason = "the lint must reach the name")]
    let routes = routes.route("/old", post(old)).with_state(7);
    let router = protected(routes);

    assert_eq!(runs_once(&router, "/debugged_below").await, "{}");
    assert_eq!(runs_once(&router, "/debugged_above").await, "{}");
    assert_eq!(runs_once(&router, "/debugged_with_state").await, "{}7");
    assert_eq!(runs_once(&router, "/traced_below").await, "{}");
    assert_eq!(runs_once(&router, "/traced_above").await, "{}");
    assert_eq!(runs_once(&router, "/traced_and_debugged").await, "object");
    assert_eq!(runs_once(&router, "/linted").await, "linted");
    assert_eq!(runs_once(&router, "/left_in").await, "in");
    assert_eq!(runs_once(&router, "/old").await, "old");
}
