use idempotency::idempotent;

#[idempotent(replay = "tokens::show", ttl_seconds = 60)]
async fn create() {}

fn main() {
    let _ = create;
}
