use idempotency::idempotent;

#[idempotent(principal, ttl_seconds = 60)]
async fn create() {}

fn main() {
    let _ = create;
}
