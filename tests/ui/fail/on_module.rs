use idempotency::idempotent;

#[idempotent]
mod bookings {}

fn main() {}
