use idempotency::idempotent;

#[idempotent]
async fn create(name: &str) -> &str {
    name
}

fn main() {}
