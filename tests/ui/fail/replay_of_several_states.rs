use axum::extract::State;
use idempotency::{ReplayWith, idempotent};

struct Db;

struct Mail;

async fn show(State(Db): State<Db>, ReplayWith(id): ReplayWith<u64>) -> String {
    id.to_string()
}

#[idempotent(replay = show)]
async fn create(State(Db): State<Db>, State(Mail): State<Mail>) -> ReplayWith<u64> {
    ReplayWith(7)
}

fn main() {
    let _ = create;
}
