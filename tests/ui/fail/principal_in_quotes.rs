use idempotency::idempotent;

#[idempotent(principal = "auth::Claims", ttl_seconds = 60)]
async fn create() {}

fn main() {
    let _ = create;
}
