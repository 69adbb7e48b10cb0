use axum::{Router, routing::post};
use idempotency::idempotent;

#[idempotent]
async fn create()
where
    String: Clone,
{
}

fn main() {
    let _: Router = Router::new().route("/", post(create));
}
