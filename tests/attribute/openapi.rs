//! The attribute with `#[utoipa::path]`, which generates items that must be next to the handler.

#![deny(warnings)]

use std::sync::{Arc, atomic::AtomicUsize};

use idempotency::idempotent;
use utoipa::{OpenApi, openapi::RefOr};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::support::{protected, runs_once, send};

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

/// A handler in a module, together with one that reads, as `routes!` takes them.
mod bookings {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use axum::{Json, extract::State, http::StatusCode};
    use idempotency::idempotent;
    use serde::{Deserialize, Serialize};
    use utoipa::ToSchema;

    #[derive(Deserialize, Serialize, ToSchema)]
    pub(super) struct Booking {
        guest: String,
    }

    #[utoipa::path(get, path = "/bookings", responses((status = 200, body = usize)))]
    pub(super) async fn list(State(made): State<Arc<AtomicUsize>>) -> Json<usize> {
        Json(made.load(Ordering::SeqCst))
    }

    #[utoipa::path(
        post,
        path = "/bookings",
        request_body = Booking,
        params(("idempotency-key" = Option<String>, Header)),
        responses((status = 201, body = Booking)),
    )]
    #[idempotent(ttl_seconds = 60)]
    pub(super) async fn create(
        State(made): State<Arc<AtomicUsize>>,
        Json(booking): Json<Booking>,
    ) -> (StatusCode, Json<Booking>) {
        made.fetch_add(1, Ordering::SeqCst);
        (StatusCode::CREATED, Json(booking))
    }
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

// proves: nested-path-counts-whole
#[tokio::test]
async fn handlers_of_a_module_share_a_path_in_a_nested_router() {
    let inner = OpenApiRouter::new().routes(routes!(bookings::list, bookings::create));
    let (routes, api) = OpenApiRouter::new()
        .nest("/v1", inner)
        .with_state(Arc::<AtomicUsize>::default())
        .split_for_parts();
    let path = &api.paths.paths["/v1/bookings"];
    assert!(path.get.is_some());
    let create = path.post.as_ref().expect("a POST");
    let parameters = create.parameters.as_ref().expect("a parameter");
    assert!(matches!(&parameters[0], RefOr::T(parameter) if parameter.name == "idempotency-key"));
    let schemas = api.components.expect("components").schemas;
    assert!(schemas.contains_key("Booking"));

    let router = protected(routes);
    let booking = r#"{"guest":"Ann"}"#;
    for replayed in [false, true] {
        let response = send(&router, "POST", "/v1/bookings", "k", booking).await;
        assert_eq!((response.text(), response.is_replay()), (booking, replayed));
    }
    assert_eq!(
        send(&router, "GET", "/v1/bookings", "k", "").await.body,
        "1"
    );
}
