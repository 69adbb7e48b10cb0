use idempotency::idempotent;

#[idempotent]
const fn create() {}

fn main() {}
