use idempotency::idempotent;

#[idempotent]
const BOOKINGS: u8 = 0;

fn main() {}
