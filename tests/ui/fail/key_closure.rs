use axum::{Router, routing::post};
use idempotency::idempotent;

#[idempotent(key = |request| request.header("x-order-id"))]
async fn create() {}

fn main() {
    let _: Router = Router::new().route("/", post(create));
}
