//! Every route and the middleware.

use std::sync::Arc;

use axum::{
    Extension, Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{MethodRouter, get, post},
};
use idempotency::options::RunMode;
use tokio::sync::Semaphore;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouter},
    routes,
};

#[cfg(feature = "swagger-ui")]
use crate::docs;
#[cfg(feature = "metrics")]
use crate::metrics;
#[cfg(feature = "otlp")]
use crate::traces;
use crate::{
    access_log, admin,
    app::App,
    bookings,
    caller::{self, Demand},
    error, health,
    openapi::{self, Document, Facts},
    page, reads,
    tokens::Tokens,
};

/// The service, as axum serves it. Larger bodies are refused.
pub(crate) fn router(app: App, access: &Access, max_body: usize) -> Router {
    let mode = if app.transactional {
        RunMode::Transactional
    } else {
        RunMode::Lease
    };
    let (routes, api) = OpenApiRouter::with_openapi(openapi::service())
        .merge(access.to_bookings(booking_routes(mode)))
        .merge(access.to_keys())
        .merge(access.to_probes(probe_routes()))
        .merge(access.to_documentation(documentation_routes()))
        .merge(page_routes())
        .split_for_parts();
    let facts = Facts {
        idempotency: &app.idempotency,
        protected: &bookings::protected(mode),
        needs_token: &|tag| access.needs_token(tag),
    };
    let document = Document::new(&api, &facts);
    let routes = routes
        .fallback(error::unknown_route)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(
            // From the outside in.
            ServiceBuilder::new()
                .layer(middleware::from_fn(access_log::log))
                .layer(CatchPanicLayer::custom(error::panicked))
                .layer(DefaultBodyLimit::max(max_body))
                .layer(Extension(document))
                .layer(Extension(app.idempotency.clone())),
        );
    #[cfg(feature = "otlp")]
    let routes = if traces::are_on() {
        routes.layer(middleware::from_fn(traces::trace))
    } else {
        routes
    };
    routes.with_state(app)
}

fn booking_routes(mode: RunMode) -> OpenApiRouter<App> {
    let pages = Arc::new(Semaphore::new(reads::MAX_PAGES));
    let list = get(bookings::list_bookings)
        .route_layer(middleware::from_fn_with_state(pages, reads::limit));
    let all = routes!(
        bookings::create_booking,
        bookings::list_bookings,
        bookings::options_of_bookings
    );
    let one = routes!(
        bookings::show_booking,
        bookings::replace_booking,
        bookings::change_booking,
        bookings::delete_booking,
        bookings::options_of_booking
    );
    OpenApiRouter::new()
        .routes(served(
            all,
            post(bookings::create_booking.mode(mode))
                .merge(list)
                .options(bookings::options_of_bookings),
        ))
        .routes(routes!(bookings::by_key::show_by_key))
        .routes(served(
            one,
            get(bookings::show_booking)
                .put(bookings::replace_booking.mode(mode))
                .patch(bookings::change_booking.mode(mode))
                .delete(bookings::delete_booking.mode(mode))
                .options(bookings::options_of_booking),
        ))
}

/// Joins the description of the operations with their configured handlers.
fn served(
    (schemas, paths, _): UtoipaMethodRouter<App>,
    handlers: MethodRouter<App>,
) -> UtoipaMethodRouter<App> {
    (schemas, paths, handlers)
}

/// The routes for orchestrators and monitoring.
fn probe_routes() -> OpenApiRouter<App> {
    let routes = OpenApiRouter::new()
        .routes(routes!(health::alive))
        .routes(routes!(health::ready));
    #[cfg(feature = "metrics")]
    let routes = routes.routes(routes!(metrics::show_metrics));
    routes
}

/// The description of the service.
fn documentation_routes() -> OpenApiRouter<App> {
    let routes = OpenApiRouter::new().routes(routes!(openapi::show_openapi));
    #[cfg(feature = "swagger-ui")]
    let routes = routes
        .routes(routes!(docs::show_docs))
        .routes(routes!(docs::docs_file));
    routes
}

/// The page at `/`, which needs no token: its data does.
fn page_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(page::show_page))
        .routes(routes!(page::page_file))
        .routes(routes!(page::page_service))
}

/// Which routes need a token.
pub(crate) enum Access {
    /// None: everyone who can reach the service may do everything.
    Open,
    Tokens {
        tokens: Arc<Tokens>,
        /// Whether the routes for orchestrators and monitoring need a token too.
        protect_health: bool,
        /// Whether the description of the service needs a token too.
        protect_docs: bool,
    },
}

impl Access {
    /// Whether the operations with this tag need a token.
    fn needs_token(&self, tag: &str) -> bool {
        match self {
            Self::Open => false,
            Self::Tokens {
                protect_health,
                protect_docs,
                ..
            } => match tag {
                "bookings" | "keys" => true,
                "health" => *protect_health,
                "documentation" => *protect_docs,
                _ => false,
            },
        }
    }

    fn to_bookings(&self, routes: OpenApiRouter<App>) -> OpenApiRouter<App> {
        match self {
            Self::Open => routes,
            Self::Tokens { tokens, .. } => demanding(routes, tokens, caller::to_use_bookings),
        }
    }

    /// In an open service, only the page's table of keys exists.
    fn to_keys(&self) -> OpenApiRouter<App> {
        let table = page::key_routes();
        match self {
            Self::Open => table,
            Self::Tokens { tokens, .. } => {
                let routes = table.merge(admin::routes().into());
                demanding(routes, tokens, caller::to_use_keys)
            }
        }
    }

    fn to_probes(&self, routes: OpenApiRouter<App>) -> OpenApiRouter<App> {
        match self {
            Self::Tokens {
                tokens,
                protect_health: true,
                ..
            } => demanding(routes, tokens, caller::with_any_role),
            _ => routes,
        }
    }

    fn to_documentation(&self, routes: OpenApiRouter<App>) -> OpenApiRouter<App> {
        match self {
            Self::Tokens {
                tokens,
                protect_docs: true,
                ..
            } => demanding(routes, tokens, caller::with_any_role),
            _ => routes,
        }
    }
}

/// The routes inside the authentication, which comes before their keys.
fn demanding(
    routes: OpenApiRouter<App>,
    tokens: &Arc<Tokens>,
    demand: Demand,
) -> OpenApiRouter<App> {
    let state = (Arc::clone(tokens), demand);
    routes.route_layer(middleware::from_fn_with_state(state, caller::authenticate))
}
