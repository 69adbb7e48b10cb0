use idempotency::idempotent;

#[idempotent]
async unsafe extern "C" fn create(_: u8, _: ...) {}

fn main() {}
