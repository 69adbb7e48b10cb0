use axum::{Router, routing::post};
use idempotency::idempotent;

struct Booking;

#[idempotent]
async fn create() -> Booking {
    Booking
}

fn main() {
    let _: Router = Router::new().route("/", post(create));
}
