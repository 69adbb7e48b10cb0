use axum::{Router, routing::post};
use idempotency::idempotent;

#[idempotent(options = webhooks::stripe())]
async fn create() {}

fn main() {
    let _: Router = Router::new().route("/", post(create));
}
