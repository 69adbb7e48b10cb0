use idempotency::idempotent;

struct Bookings;

impl Bookings {
    #[idempotent]
    async fn create(&self) {}
}

fn main() {}
