use idempotency::idempotent;

#[idempotent]
async fn create() -> &str {
    "created"
}

fn main() {}
