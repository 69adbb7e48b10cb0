use axum::{Router, extract::State, routing::post};
use idempotency::{ReplayWith, idempotent};

#[derive(Clone)]
struct Db;

#[derive(Clone)]
struct Mail;

async fn show(State(Mail): State<Mail>, ReplayWith(id): ReplayWith<u64>) -> String {
    id.to_string()
}

#[idempotent(replay = show)]
async fn create(State(Db): State<Db>) -> (ReplayWith<u64>, &'static str) {
    (ReplayWith(7), "a secret")
}

fn main() {
    let _: Router = Router::new().route("/", post(create)).with_state(Db);
}
