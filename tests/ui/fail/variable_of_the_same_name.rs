//! The handler is a constant, and a pattern means the constant of its name.

use idempotency::idempotent;

#[idempotent]
async fn booking() {}

fn main() {
    let booking = "7";
    let _ = booking;
}
