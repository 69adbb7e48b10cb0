//! The smallest service whose POST is safe to retry, with the key's owner proved by a middleware.
//!
//! `cargo run --example bookings -p idempotency`, which takes another address than 127.0.0.1:3000 as its argument, and then twice:
//!
//! ```sh
//! curl -i -X POST http://127.0.0.1:3000/bookings -H 'Authorization: Bearer token-1' \
//!   -H 'Idempotency-Key: 1' -H 'Content-Type: application/json' -d '{"date":"2025-08-07"}'
//! ```
//!
//! With `token-2`, which Ann has too, it is the same caller, and the response is replayed. With any other token it is 401.

use std::{
    collections::HashMap,
    env,
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Extension, Json, Router,
    extract::{Request, State},
    http::{StatusCode, header::AUTHORIZATION},
    middleware::{Next, from_fn_with_state},
    response::Response,
    routing::post,
};
use idempotency::{Idempotency, MemoryStore, Scope, idempotent};
use serde_json::{Value, json};

type Bookings = Arc<AtomicU64>;

/// The tokens that are valid now, and the subject of each.
pub(crate) type Sessions = Arc<RwLock<HashMap<String, String>>>;

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

/// Verifies the token of every request, retries too. Keys belong to the subject, which stays the same when its token is
/// refreshed.
async fn authenticate(
    State(sessions): State<Sessions>,
    mut request: Request,
    next: Next,
) -> Result<Response, StatusCode> {
    let authorization = request.headers().get(AUTHORIZATION);
    let token = authorization.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let subject = token.and_then(|token| sessions.read().ok()?.get(token).cloned());
    let scope = Scope::principal(subject.ok_or(StatusCode::UNAUTHORIZED)?);
    request.extensions_mut().insert(scope);
    Ok(next.run(request).await)
}

pub(crate) fn app(sessions: Sessions) -> Router {
    Router::new()
        .route("/bookings", post(create_booking))
        .with_state(Bookings::default())
        .layer(Extension(Idempotency::new(MemoryStore::new())))
        // Outermost: a caller who is not let in learns nothing from a replay.
        .layer(from_fn_with_state(sessions, authenticate))
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let sessions = [("token-1", "ann"), ("token-2", "ann"), ("token-3", "bob")];
    let sessions = sessions.map(|(token, subject)| (token.to_owned(), subject.to_owned()));
    let app = app(Arc::new(RwLock::new(sessions.into())));
    let address = env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:3000");
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, app).await
}
