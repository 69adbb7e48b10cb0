//! The layer of `rustango` over its cache in memory.

use std::{sync::Arc, time::Duration};

use axum::{Router, routing::post};
use bookings::{Counted, book, serve};
use rustango::{
    cache::{BoxedCache, InMemoryCache},
    idempotency::{IdempotencyLayer, IdempotencyRouterExt},
};

#[tokio::main]
async fn main() {
    let counted = Counted::default();
    let cache: BoxedCache = Arc::new(InMemoryCache::new());
    let layer = IdempotencyLayer::new(cache).ttl(Duration::from_secs(86_400));
    let router = Router::new()
        .route("/bookings", post(book))
        .with_state(counted.clone())
        .idempotency(layer);
    serve(router.merge(counted.effects())).await;
}
