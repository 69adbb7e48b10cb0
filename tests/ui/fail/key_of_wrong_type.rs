use axum::{Router, routing::post};
use idempotency::idempotent;

fn order_id(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}

#[idempotent(key = order_id)]
async fn create() {}

fn main() {
    let _: Router = Router::new().route("/", post(create));
}
