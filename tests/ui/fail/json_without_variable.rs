use axum::{Router, routing::post};
use idempotency::idempotent;
use idempotency::json_without;

fn member() -> &'static str {
    "sent_at"
}

#[idempotent(fingerprint = json_without!(member()))]
async fn create() {}

fn main() {
    let _: Router = Router::new().route("/", post(create));
}
