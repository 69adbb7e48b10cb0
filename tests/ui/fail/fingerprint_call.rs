use axum::{Router, routing::post};
use idempotency::idempotent;

#[idempotent(fingerprint = json_without("sent_at"))]
async fn create() {}

fn main() {
    let _: Router = Router::new().route("/", post(create));
}
