//! A service that reads JSON and responds with JSON, and does nothing else: alone, under the attribute, and under the layer.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::{Json, Router, http::StatusCode, routing::post};
use idempotency::{Idempotency, IdempotencyLayer, MemoryStore, Options, idempotent};
use serde::{Deserialize, Serialize};

/// The handler as axum calls it, in a router without an engine.
pub(crate) const PLAIN: &str = "/plain";
pub(crate) const ATTRIBUTE: &str = "/attribute";
pub(crate) const LAYER: &str = "/layer";

#[derive(Deserialize)]
struct NewBooking {
    service_id: String,
    customer_name: String,
    date: String,
    time: String,
}

#[derive(Serialize)]
struct Booking {
    id: u64,
    service_id: String,
    customer_name: String,
    date: String,
    time: String,
}

pub(crate) fn router() -> Router {
    let idempotency = Idempotency::new(MemoryStore::new());
    let layer = IdempotencyLayer::new(idempotency.clone()).with_options(Options::new());
    Router::new()
        .route(PLAIN, post(plain))
        .merge(
            Router::new()
                .route(ATTRIBUTE, post(attributed))
                .layer(idempotency.extension()),
        )
        .merge(Router::new().route(LAYER, post(plain)).layer(layer))
}

async fn plain(Json(new): Json<NewBooking>) -> (StatusCode, Json<Booking>) {
    book(new)
}

#[idempotent]
async fn attributed(Json(new): Json<NewBooking>) -> (StatusCode, Json<Booking>) {
    book(new)
}

fn book(new: NewBooking) -> (StatusCode, Json<Booking>) {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let booking = Booking {
        id: NEXT.fetch_add(1, Ordering::Relaxed),
        service_id: new.service_id,
        customer_name: new.customer_name,
        date: new.date,
        time: new.time,
    };
    (StatusCode::CREATED, Json(booking))
}
