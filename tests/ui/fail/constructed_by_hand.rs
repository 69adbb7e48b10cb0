//! A function that the attribute has not rewritten cannot be protected, because nothing would be stored.

use idempotency::{Idempotent, Options};

async fn book() -> &'static str {
    "booked"
}

fn main() {
    let _handler = Idempotent::new(Options::new(), book);
}
