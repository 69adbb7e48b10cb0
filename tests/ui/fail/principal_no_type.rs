use idempotency::idempotent;

#[idempotent(principal = |head| head.subject(), ttl_seconds = 60)]
async fn create() {}

fn main() {
    let _ = create;
}
