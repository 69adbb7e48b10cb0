use axum::{Router, routing::post};
use idempotency::idempotent;

#[idempotent]
async fn create() -> String {
    7
}

fn main() {
    let _: Router = Router::new().route("/", post(create));
}
