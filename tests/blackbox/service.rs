//! The service of the program's target `bookings`, protected by the library, well or badly.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use idempotency::IdempotencyLayer;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, time::timeout};

/// How long a slow request waits for another one at most, so that a rule which fails before it sends one ends all the same. Without protection
/// the other one is as slow, and nothing depends on it.
const fn max_slowness(is_protected: bool) -> Duration {
    Duration::from_millis(if is_protected { 20_000 } else { 100 })
}

/// What the handlers have done.
#[derive(Clone, Debug)]
struct Work {
    started: Arc<AtomicUsize>,
    /// How often each run does the work: once, unless the service is broken.
    times: usize,
    max_slowness: Duration,
    /// How many requests got their response.
    responded: watch::Sender<usize>,
}

/// Starts the service, each of whose runs does its work this many times, behind this layer or behind none.
pub(crate) async fn start(layer: Option<IdempotencyLayer>, times: usize) -> SocketAddr {
    let work = Work {
        started: Arc::default(),
        times,
        max_slowness: max_slowness(layer.is_some()),
        responded: watch::Sender::new(0),
    };
    let routes = Router::new()
        .route("/bookings", post(book).get(stats))
        .route("/reservations", post(book));
    let routes = match layer {
        Some(layer) => routes.layer(layer),
        None => routes,
    };
    let app = routes
        .layer(from_fn_with_state(work.clone(), count_responses))
        .route("/stats", get(stats))
        .with_state(work);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(axum::serve(listener, app).into_future());
    address
}

async fn count_responses(State(work): State<Work>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    work.responded.send_modify(|responded| *responded += 1);
    response
}

async fn book(
    State(work): State<Work>,
    headers: HeaderMap,
    Json(booking): Json<Value>,
) -> Response {
    let mut responded = work.responded.subscribe();
    let before = *responded.borrow_and_update();
    let id = work.started.fetch_add(work.times, Ordering::Relaxed);
    if headers.contains_key("x-fault-delay-ms") {
        // As long as it takes until another request was sent meanwhile and got its response.
        let other = responded.wait_for(|responded| *responded > before);
        drop(timeout(work.max_slowness, other).await);
    }
    let fault = headers
        .get("x-fault-status")
        .map(|status| StatusCode::from_bytes(status.as_bytes()));
    match fault {
        Some(status) => (status.expect("a status"), Json(json!({ "run": id }))).into_response(),
        None => (
            StatusCode::CREATED,
            Json(json!({ "id": id, "booking": booking })),
        )
            .into_response(),
    }
}

async fn stats(State(work): State<Work>) -> Json<Value> {
    Json(json!({ "started": work.started.load(Ordering::Relaxed) }))
}
