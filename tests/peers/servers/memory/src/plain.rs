//! axum alone.

use axum::{Router, routing::post};
use bookings::{Counted, book, serve};

#[tokio::main]
async fn main() {
    let counted = Counted::default();
    let router = Router::new()
        .route("/bookings", post(book))
        .with_state(counted.clone());
    serve(router.merge(counted.effects())).await;
}
