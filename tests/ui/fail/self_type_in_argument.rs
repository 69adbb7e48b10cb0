use axum::{Router, routing::post};
use idempotency::idempotent;

use axum::Json;

#[derive(serde::Deserialize)]
struct Booking;

impl Booking {
    #[idempotent]
    async fn create(Json(_): Json<Self>) {}
}

fn main() {
    let _: Router = Router::new().route("/", post(Booking::create));
}
