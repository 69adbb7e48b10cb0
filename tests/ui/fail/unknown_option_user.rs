use idempotency::idempotent;

#[idempotent(user = Claims)]
async fn create() {}

fn main() {
    let _ = create;
}
