use idempotency::idempotent;

#[idempotent]
async fn create<'a>(name: &'a str) -> &'a str {
    name
}

fn main() {}
