use axum::{Router, routing::post};
use idempotency::idempotent;

#[idempotent(ttl_seconds = 99999999999999999999999)]
async fn create() {}

fn main() {
    let _: Router = Router::new().route("/", post(create));
}
