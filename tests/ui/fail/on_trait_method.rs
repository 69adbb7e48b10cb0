use idempotency::idempotent;

trait Bookings {
    #[idempotent]
    async fn create();
}

fn main() {}
