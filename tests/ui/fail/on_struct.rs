use idempotency::idempotent;

#[idempotent]
struct Bookings;

fn main() {}
