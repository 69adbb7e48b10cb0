use axum::{Router, routing::post};
use idempotency::{ReplayWith, idempotent};

struct Id;

async fn show(ReplayWith(Id): ReplayWith<Id>) {}

#[idempotent(replay = show)]
async fn create() -> (ReplayWith<Id>, &'static str) {
    (ReplayWith(Id), "a secret")
}

fn main() {
    let _: Router = Router::new().route("/", post(create));
}
