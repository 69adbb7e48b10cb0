use idempotency::idempotent;

struct Bookings;

#[idempotent]
impl Bookings {}

fn main() {}
