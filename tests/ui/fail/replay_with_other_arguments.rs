use axum::{Router, routing::post};
use idempotency::{ReplayWith, idempotent};

async fn show(ReplayWith(id): ReplayWith<u64>) -> String {
    id.to_string()
}

#[idempotent(replay = show(ReplayWith<String>))]
async fn create() -> (ReplayWith<u64>, &'static str) {
    (ReplayWith(7), "a secret")
}

fn main() {
    let _: Router = Router::new().route("/", post(create));
}
