//! The smallest service whose POST is safe to retry, with the key's owner taken from an authentication layer.
//!
//! `cargo run --example bookings -p idempotency`, and then twice:
//!
//! ```sh
//! curl -i -X POST http://127.0.0.1:3000/bookings -H 'Authorization: Bearer ann' \
//!   -H 'Idempotency-Key: 1' -H 'Content-Type: application/json' -d '{"date":"2025-08-07"}'
//! ```

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{
    Extension, Json, Router,
    extract::{Request, State},
    http::{StatusCode, header::AUTHORIZATION},
    middleware::{Next, from_fn},
    response::Response,
    routing::post,
};
use idempotency::{Idempotency, MemoryStore, Scope, idempotent};
use serde_json::{Value, json};

type Bookings = Arc<AtomicU64>;

#[idempotent(ttl_seconds = 3600)]
async fn create_booking(
    State(bookings): State<Bookings>,
    Json(booking): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let id = bookings.fetch_add(1, Ordering::Relaxed) + 1;
    (
        StatusCode::CREATED,
        Json(json!({ "id": id, "booking": booking })),
    )
}

/// Whoever has a token is let in, and keys belong to the subject that the token proves: a real service would look
/// it up, and the subject would stay the same when the token is refreshed.
async fn authenticate(mut request: Request, next: Next) -> Result<Response, StatusCode> {
    let token = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let subject = token
        .and_then(|token| token.strip_prefix("Bearer "))
        .ok_or(StatusCode::UNAUTHORIZED)?;
    let scope = Scope::principal(subject);
    request.extensions_mut().insert(scope);
    Ok(next.run(request).await)
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let app = Router::new()
        .route("/bookings", post(create_booking))
        .with_state(Bookings::default())
        .layer(Extension(Idempotency::new(MemoryStore::new())))
        // Outermost: who is not let in must not learn anything from a replay.
        .layer(from_fn(authenticate));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, app).await
}
