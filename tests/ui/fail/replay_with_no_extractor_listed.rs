use axum::{Router, routing::post};
use idempotency::{ReplayWith, idempotent};

async fn show(id: u64) -> String {
    id.to_string()
}

#[idempotent(replay = show(u64))]
async fn create() -> (ReplayWith<u64>, &'static str) {
    (ReplayWith(7), "a secret")
}

fn main() {
    let _: Router = Router::new().route("/", post(create));
}
