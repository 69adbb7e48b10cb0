//! What scripts of other origins may do, by the CORS protocol of the Fetch standard.

use std::time::Duration;

use axum::{
    Router,
    http::{
        Method,
        header::{AUTHORIZATION, CONTENT_TYPE},
    },
};
use idempotency::HttpConfig;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::config::Origin;

/// How long browsers cache the permission.
const MAX_AGE: Duration = Duration::from_secs(600);

/// Lets scripts of these origins, and of no others, call every route and read every response, refusals included. Cookies are not
/// allowed: the service has none.
pub(crate) fn allow(router: Router, origins: &[Origin], http: &HttpConfig) -> Router {
    if origins.is_empty() {
        return router;
    }
    let mut headers = http.cors_allow_headers();
    headers.extend([AUTHORIZATION, CONTENT_TYPE]);
    router.layer(
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins.iter().map(Origin::to_value)))
            .allow_methods([
                Method::GET,
                Method::HEAD,
                Method::POST,
                Method::PUT,
                Method::PATCH,
                Method::DELETE,
            ])
            .allow_headers(headers)
            .expose_headers(http.cors_expose_headers())
            .max_age(MAX_AGE),
    )
}
