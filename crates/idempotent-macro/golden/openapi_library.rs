#[utoipa::path(post, path = "/bookings")]
#[::web::idempotency::idempotent(__moved, transactional, crate = ::web::idempotency)]
async fn create_booking() {}
