use idempotency::idempotent;

#[idempotent(replay = show(ReplayWith<&str>))]
async fn create() {}

fn main() {
    let _ = create;
}
