use axum::{Router, routing::post};
use idempotency::idempotent;
use idempotency::json_without;

#[idempotent(fingerprint = json_without!(""))]
async fn create() {}

fn main() {
    let _: Router = Router::new().route("/", post(create));
}
