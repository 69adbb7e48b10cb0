//! Transactional handlers that respond without a commit while the store is down.

use std::sync::{Arc, atomic::Ordering};

use axum::{
    Extension, Router,
    body::Body,
    extract::State,
    http::{Request, StatusCode},
    routing::post,
};
use idempotency::{Clock, Idempotency, idempotent};
use tower::ServiceExt;

use crate::flaky::FlakyStore;

/// The seat is taken, perhaps by the same request in another process.
#[idempotent(transactional)]
async fn refuse(State(store): State<Arc<FlakyStore>>, word: String) -> StatusCode {
    store.down.store(word == "down", Ordering::SeqCst);
    StatusCode::CONFLICT
}

// proves: rows-and-key-commit-together
#[tokio::test(start_paused = true)]
async fn a_refusal_is_not_sent_where_an_equal_run_may_have_committed() {
    let store = FlakyStore::new(&Clock::manual());
    let idempotency = Idempotency::builder(Arc::clone(&store)).build();
    let service = Router::new()
        .route("/", post(refuse))
        .layer(Extension(idempotency))
        .with_state(Arc::clone(&store));
    let send = async |key: &str, word: &'static str| {
        let request = Request::post("/").header("Idempotency-Key", key);
        let request = request.body(Body::from(word)).expect("a request");
        let Ok(response) = service.clone().oneshot(request).await;
        let replayed = response.headers().contains_key("idempotent-replayed");
        (response.status(), replayed)
    };
    assert_eq!(
        send("k", "down").await,
        (StatusCode::SERVICE_UNAVAILABLE, false)
    );
    store.down.store(false, Ordering::SeqCst);
    // Once the store is back, the stored response is sent.
    assert_eq!(send("other", "up").await, (StatusCode::CONFLICT, false));
    assert_eq!(send("other", "up").await, (StatusCode::CONFLICT, true));
}
