use idempotency::idempotent;

#[idempotent(crate)]
async fn create() -> String {
    String::new()
}

fn main() {}
