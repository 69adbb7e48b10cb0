use idempotency::idempotent;

#[idempotent(replay = |id: u64| id.to_string())]
async fn create() {}

fn main() {
    let _ = create;
}
