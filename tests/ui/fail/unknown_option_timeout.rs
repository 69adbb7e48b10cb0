use axum::{Router, routing::post};
use idempotency::idempotent;

#[idempotent(timeout = 60)]
async fn create() {}

fn main() {
    let _: Router = Router::new().route("/", post(create));
}
