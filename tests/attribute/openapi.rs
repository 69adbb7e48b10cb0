//! The attribute beside `#[utoipa::path]`, which writes items that must be found beside the handler.

#![deny(warnings)]

use idempotency::idempotent;
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::support::{protected, runs_once};

/// Above.
#[utoipa::path(post, path = "/above", responses((status = 200, body = String)))]
#[idempotent(ttl_seconds = 60)]
async fn above(body: String) -> String {
    body
}

/// Below.
#[idempotent(ttl_seconds = 60)]
#[axum::debug_handler]
#[utoipa::path(post, path = "/below", responses((status = 200, body = String)))]
async fn below(body: String) -> String {
    body
}

#[idempotent]
#[cfg_attr(true, utoipa::path(post, path = "/conditional"))]
async fn conditional() -> &'static str {
    "conditional"
}

#[derive(OpenApi)]
#[openapi(paths(above, below, conditional))]
struct Listed;

#[tokio::test]
async fn a_handler_with_utoipas_attribute_is_described_and_replays() {
    let (routes, api) = OpenApiRouter::<()>::new()
        .routes(routes!(above))
        .routes(routes!(below))
        .routes(routes!(conditional))
        .split_for_parts();
    for paths in [api.paths, Listed::openapi().paths] {
        let names: Vec<_> = paths.paths.keys().map(String::as_str).collect();
        assert_eq!(names, ["/above", "/below", "/conditional"]);
        let summary = |path| {
            let operation = paths.paths[path].post.as_ref().expect("a POST");
            operation.summary.clone().expect("a summary")
        };
        assert_eq!(summary("/above"), "Above.");
        assert_eq!(summary("/below"), "Below.");
    }

    let router = protected(routes);
    assert_eq!(runs_once(&router, "/above").await, "{}");
    assert_eq!(runs_once(&router, "/below").await, "{}");
    assert_eq!(runs_once(&router, "/conditional").await, "conditional");
}
