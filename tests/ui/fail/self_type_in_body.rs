use axum::{Router, routing::post};
use idempotency::idempotent;

struct Bookings;

impl Bookings {
    const LIMIT: usize = 10;

    #[idempotent]
    async fn create() -> String {
        Self::LIMIT.to_string()
    }
}

fn main() {
    let _: Router = Router::new().route("/", post(Bookings::create));
}
