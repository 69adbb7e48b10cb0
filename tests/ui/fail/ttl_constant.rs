use axum::{Router, routing::post};
use idempotency::idempotent;

const HOUR: u64 = 3600;

#[idempotent(ttl_seconds = HOUR)]
async fn create() {}

fn main() {
    let _: Router = Router::new().route("/", post(create));
    let _ = HOUR;
}
