use axum::{Router, routing::post};
use idempotency::idempotent;

#[idempotent(ttl_seconds = 315360001)]
async fn create() {}

fn main() {
    let _: Router = Router::new().route("/", post(create));
}
