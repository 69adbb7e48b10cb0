//! Every route and the middleware.

use std::sync::Arc;

use axum::{
    Extension, Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, post},
};
use idempotency::RunMode;
use tokio::sync::Semaphore;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;

use crate::{access_log, app::App, bookings, error, health, reads};

/// The largest body that is read: many times what the longest valid booking takes.
const MAX_BODY: usize = 64 * 1024;

/// The service, as axum serves it.
pub(crate) fn router(app: App) -> Router {
    let mode = if app.transactional {
        RunMode::Transactional
    } else {
        RunMode::Lease
    };
    let pages = Arc::new(Semaphore::new(reads::MAX_PAGES));
    Router::new()
        .route(
            "/bookings",
            post(bookings::create_booking.mode(mode)).merge(
                get(bookings::list_bookings)
                    .route_layer(middleware::from_fn_with_state(pages, reads::limit)),
            ),
        )
        .route(
            "/bookings/{id}",
            get(bookings::show_booking)
                .put(bookings::replace_booking.mode(mode))
                .patch(bookings::change_booking.mode(mode))
                .delete(bookings::delete_booking.mode(mode)),
        )
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .fallback(error::unknown_route)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(
            // From the outside in.
            ServiceBuilder::new()
                .layer(middleware::from_fn(access_log::log))
                .layer(CatchPanicLayer::custom(error::panicked))
                .layer(DefaultBodyLimit::max(MAX_BODY))
                .layer(Extension(app.idempotency.clone())),
        )
        .with_state(app)
}
