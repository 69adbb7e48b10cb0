use idempotency::idempotent;

#[idempotent(replay)]
async fn create() {}

fn main() {
    let _ = create;
}
