use axum::{Router, routing::post};
use idempotency::idempotent;

#[idempotent(on_duplicate = "conflict")]
async fn create() {}

fn main() {
    let _: Router = Router::new().route("/", post(create));
}
