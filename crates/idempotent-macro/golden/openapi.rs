#[utoipa::path(post, path = "/bookings")]
#[::idempotency::idempotent(__moved, transactional, ttl_seconds = 60)]
/// Creates a booking.
#[axum::debug_handler]
async fn create_booking() {}
