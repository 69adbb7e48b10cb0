use axum::{Router, extract::FromRequestParts, http::request::Parts, routing::post};
use idempotency::idempotent;

struct Claims;

impl<S: Sync> FromRequestParts<S> for Claims {
    type Rejection = ();

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Self, ()> {
        Ok(Self)
    }
}

#[idempotent(ttl_seconds = 60, principal = Claims)]
async fn create(_: Claims) {}

fn main() {
    let _: Router = Router::new().route("/", post(create));
}
