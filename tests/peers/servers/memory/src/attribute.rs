//! This project's attribute, over its memory store.

use axum::{Json, Router, extract::State, routing::post};
use bookings::{Booking, Counted, Failed, NewBooking, serve};
use idempotency::{Idempotency, MemoryStore, idempotent};

#[idempotent(ttl_seconds = 86_400)]
async fn book(state: State<Counted>, new: Json<NewBooking>) -> Result<Booking, Failed> {
    bookings::book(state, new).await
}

#[tokio::main]
async fn main() {
    let counted = Counted::default();
    let idempotency = Idempotency::new(MemoryStore::new());
    let router = Router::new()
        .route("/bookings", post(book))
        .with_state(counted.clone())
        .layer(idempotency.extension());
    serve(router.merge(counted.effects())).await;
}
