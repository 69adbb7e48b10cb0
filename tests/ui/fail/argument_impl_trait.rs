use idempotency::idempotent;

#[idempotent]
async fn create(_: impl Send) {}

fn main() {}
