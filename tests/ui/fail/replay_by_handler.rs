use idempotency::{ReplayWith, idempotent};

#[idempotent(replay = create)]
async fn create() -> (ReplayWith<u64>, &'static str) {
    (ReplayWith(7), "a secret")
}

fn main() {
    let _ = create;
}
