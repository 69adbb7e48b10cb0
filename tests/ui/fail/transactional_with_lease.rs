use axum::{Router, routing::post};
use idempotency::idempotent;

#[idempotent(ttl_seconds = 3600, transactional, lease_seconds = 10)]
async fn create() {}

fn main() {
    let _: Router = Router::new().route("/", post(create));
}
