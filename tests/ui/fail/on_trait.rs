use idempotency::idempotent;

#[idempotent]
trait Bookings {}

fn main() {}
