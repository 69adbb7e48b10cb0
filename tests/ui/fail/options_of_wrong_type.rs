use axum::{Router, routing::post};
use idempotency::idempotent;

const DAY: u64 = 86_400;

#[idempotent(options = DAY, required)]
async fn create() {}

fn main() {
    let _: Router = Router::new().route("/", post(create));
}
