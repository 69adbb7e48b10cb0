use idempotency::idempotent;

struct Memory;

trait Bookings {
    async fn create();
}

impl Bookings for Memory {
    #[idempotent]
    async fn create() {}
}

fn main() {}
