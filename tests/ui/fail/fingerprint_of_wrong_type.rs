use axum::{Router, routing::post};
use idempotency::idempotent;

fn digest(body: &[u8]) -> Vec<u8> {
    body.to_vec()
}

#[idempotent(fingerprint = digest)]
async fn create() {}

fn main() {
    let _: Router = Router::new().route("/", post(create));
}
