use idempotency::idempotent;

#[idempotent(replay = show(7))]
async fn create() {}

fn main() {
    let _ = create;
}
