//! This project's layer, over its memory store.

use std::time::Duration;

use axum::{Router, routing::post};
use bookings::{Counted, book, serve};
use idempotency::{Idempotency, IdempotencyLayer, MemoryStore, Options};

#[tokio::main]
async fn main() {
    let counted = Counted::default();
    let idempotency = Idempotency::new(MemoryStore::new());
    let options = Options::new().ttl(Duration::from_secs(86_400));
    let router = Router::new()
        .route("/bookings", post(book))
        .with_state(counted.clone())
        .layer(IdempotencyLayer::new(idempotency).with_options(options));
    serve(router.merge(counted.effects())).await;
}
