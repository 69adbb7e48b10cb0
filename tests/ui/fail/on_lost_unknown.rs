use axum::{Router, routing::post};
use idempotency::idempotent;

#[idempotent(on_lost = "take_over")]
async fn create() {}

fn main() {
    let _: Router = Router::new().route("/", post(create));
}
