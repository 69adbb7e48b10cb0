use axum::{Router, routing::post};
use idempotency::idempotent;

fn by_user(user: &str) -> String {
    user.to_owned()
}

#[idempotent(ttl_seconds = 60, scope = by_user)]
async fn create() {}

fn main() {
    let _: Router = Router::new().route("/", post(create));
}
