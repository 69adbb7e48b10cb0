use axum::{Router, routing::post};
use idempotency::idempotent;

#[idempotent(lease_seconds = 86401)]
async fn create() {}

fn main() {
    let _: Router = Router::new().route("/", post(create));
}
