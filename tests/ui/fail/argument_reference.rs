use idempotency::idempotent;

#[idempotent]
async fn create(name: &str) -> String {
    name.to_owned()
}

fn main() {}
