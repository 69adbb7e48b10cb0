use axum::{Router, routing::post};
use idempotency::idempotent;

#[idempotent(required, ttl_seconds = 60, required)]
async fn create() {}

fn main() {
    let _: Router = Router::new().route("/", post(create));
}
