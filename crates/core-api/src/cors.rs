//! What scripts of other origins may do, as defined by the CORS protocol of the Fetch standard.

use std::time::Duration;

use axum::{
    Router,
    extract::{Request, State},
    http::{
        Method,
        header::{ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CONTENT_TYPE, IF_MATCH},
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use idempotency::HttpConfig;
use tower::Service;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::config::Origin;

/// How long browsers cache the permission.
const MAX_AGE: Duration = Duration::from_secs(600);

/// Lets scripts of only these origins call every route and read every response, including refusals. Cookies are not
/// allowed, because the service uses none.
pub(crate) fn allow(router: Router, origins: &[Origin], http: &HttpConfig) -> Router {
    if origins.is_empty() {
        return router;
    }
    let mut headers = http.cors_allow_headers();
    headers.extend([AUTHORIZATION, CONTENT_TYPE, IF_MATCH]);
    let without_cors = router.clone();
    let router = router.layer(
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
    );
    router.layer(middleware::from_fn_with_state(without_cors, pass_on))
}

/// Passes an `OPTIONS` that is not a preflight on to its route; the CORS layer would treat it as one. No page of another origin
/// sends such a request, because `OPTIONS` is not an allowed method.
async fn pass_on(State(mut routes): State<Router>, request: Request, next: Next) -> Response {
    let is_preflight = request
        .headers()
        .contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    if request.method() == Method::OPTIONS && !is_preflight {
        return routes.call(request).await.into_response();
    }
    next.run(request).await
}
