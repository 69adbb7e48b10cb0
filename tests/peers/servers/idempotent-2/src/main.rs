//! The layer of `idempotent` 2 over its memory store. It has no scope unless it is given one.

use std::time::Duration;

use axum::{Router, routing::post};
use bookings::{Counted, book, serve};
use idempotent::{memory::MemoryStore, middleware::IdempotencyLayer};

#[tokio::main]
async fn main() {
    let counted = Counted::default();
    let store = MemoryStore::builder().try_build().expect("its defaults");
    let layer = IdempotencyLayer::new(store).completed_ttl(Duration::from_secs(86_400));
    let router = Router::new()
        .route("/bookings", post(book))
        .with_state(counted.clone())
        .layer(layer);
    serve(router.merge(counted.effects())).await;
}
