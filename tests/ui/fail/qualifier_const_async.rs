use idempotency::idempotent;

#[idempotent]
const async fn create() {}

fn main() {}
