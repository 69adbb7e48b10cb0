use idempotency::idempotent;

use std::sync::Arc;

struct Bookings;

impl Bookings {
    #[idempotent]
    async fn create(self: Arc<Self>) {}
}

fn main() {}
