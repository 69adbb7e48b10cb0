use axum::{Router, routing::post};
use idempotency::{ReplayWith, idempotent};

struct Token;

async fn show(ReplayWith(_): ReplayWith<u64>) -> Token {
    Token
}

#[idempotent(replay = show(ReplayWith<u64>))]
async fn create() -> (ReplayWith<u64>, &'static str) {
    (ReplayWith(7), "a secret")
}

fn main() {
    let _: Router = Router::new().route("/", post(create));
}
