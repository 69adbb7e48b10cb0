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

use crate::{
    access_log, admin,
    app::App,
    bookings,
    caller::{self, Demand},
    error, health, reads,
    tokens::Tokens,
};

/// The largest body that is read: many times what the longest valid booking takes.
const MAX_BODY: usize = 64 * 1024;

/// The service, as axum serves it.
pub(crate) fn router(app: App, access: &Access) -> Router {
    Router::new()
        .merge(access.to_bookings(booking_routes(&app)))
        .merge(access.to_keys())
        .merge(access.to_probes(probe_routes()))
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

fn booking_routes(app: &App) -> Router<App> {
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
}

/// What operators ask and change.
fn key_routes() -> Router<App> {
    let lists = Arc::new(Semaphore::new(admin::MAX_LISTS));
    Router::new()
        .route(
            "/admin/keys",
            get(admin::list_keys).route_layer(middleware::from_fn_with_state(lists, reads::limit)),
        )
        .route("/admin/keys/{id}", get(admin::show_key))
        .route("/admin/keys/{id}/release", post(admin::release_key))
        .route("/admin/keys/{id}/resolve", post(admin::resolve_key))
        .route("/admin/keys/{id}/erase", post(admin::erase_key))
}

/// What orchestrators ask.
fn probe_routes() -> Router<App> {
    Router::new()
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
}

/// Which routes need a token.
pub(crate) enum Access {
    /// None: everyone who reaches the service may do everything.
    Open,
    Tokens {
        tokens: Arc<Tokens>,
        /// Whether the routes for orchestrators need one too.
        protect_health: bool,
    },
}

impl Access {
    fn to_bookings(&self, routes: Router<App>) -> Router<App> {
        match self {
            Self::Open => routes,
            Self::Tokens { tokens, .. } => demanding(routes, tokens, caller::to_use_bookings),
        }
    }

    /// Where everyone may do everything, these routes do not exist.
    fn to_keys(&self) -> Router<App> {
        match self {
            Self::Open => Router::new(),
            Self::Tokens { tokens, .. } => demanding(key_routes(), tokens, caller::to_use_keys),
        }
    }

    fn to_probes(&self, routes: Router<App>) -> Router<App> {
        match self {
            Self::Tokens {
                tokens,
                protect_health: true,
            } => demanding(routes, tokens, caller::to_probe),
            _ => routes,
        }
    }
}

/// The routes behind the authentication, which stands in front of their keys.
fn demanding(routes: Router<App>, tokens: &Arc<Tokens>, demand: Demand) -> Router<App> {
    let state = (Arc::clone(tokens), demand);
    routes.route_layer(middleware::from_fn_with_state(state, caller::authenticate))
}
