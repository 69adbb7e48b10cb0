//! The library is used where another module re-exports it, by hand and by a macro.

use axum::{Json, Router, routing::post};

mod web {
    pub use idempotency;

    /// Writes a handler into another crate.
    #[macro_export]
    macro_rules! echo {
        ($name:ident) => {
            #[$crate::web::idempotency::idempotent(ttl_seconds = 60, crate = $crate::web::idempotency)]
            async fn $name(text: String) -> String {
                text
            }
        };
    }
}

#[web::idempotency::idempotent(
    crate = web::idempotency,
    transactional,
    ttl_seconds = 60,
    on_duplicate = "wait",
    keep = "all",
)]
async fn book(Json(guest): Json<String>) -> String {
    guest
}

echo!(repeat);

fn main() {
    let _: Router = Router::new()
        .route("/bookings", post(book))
        .route("/echo", post(repeat));
}
