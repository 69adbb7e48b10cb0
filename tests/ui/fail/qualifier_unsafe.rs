use idempotency::idempotent;

#[idempotent]
async unsafe fn create() {}

fn main() {}
