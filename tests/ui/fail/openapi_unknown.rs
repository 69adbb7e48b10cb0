use idempotency::idempotent;

mod bookings {
    mod utoipa {}

    #[super::idempotent(required)]
    #[utoipa::path(post, path = "/bookings")]
    pub(super) async fn create() {}
}

fn main() {
    let _: axum::Router = axum::Router::new().route("/", axum::routing::post(bookings::create));
}
