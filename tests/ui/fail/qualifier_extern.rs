use idempotency::idempotent;

#[idempotent]
async extern "C" fn create() {}

fn main() {}
