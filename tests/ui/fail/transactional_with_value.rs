use axum::{Router, routing::post};
use idempotency::idempotent;

#[idempotent(transactional = true)]
async fn create() {}

fn main() {
    let _: Router = Router::new().route("/", post(create));
}
