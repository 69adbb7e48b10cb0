//! Failures of transactional handlers, which may be the consequence of an equal run's success.

use std::sync::{Arc, atomic::Ordering};

use axum::{Extension, Router, body::Body, routing::post};
use http::{Request, StatusCode};
use idempotency::{Clock, Idempotency, idempotent};
use tower::ServiceExt;

use crate::flaky::FlakyStore;

/// Fails, and makes the store fail where the test says so.
#[idempotent(transactional)]
async fn book(Extension(store): Extension<Arc<FlakyStore>>, fails_with: String) -> StatusCode {
    match fails_with.as_str() {
        "store" => store.blind.store(true, Ordering::SeqCst),
        "panic" => {
            store.blind.store(true, Ordering::SeqCst);
            panic!("a bug of the application's")
        }
        _ => {}
    }
    StatusCode::INTERNAL_SERVER_ERROR
}

async fn send(fails_with: &'static str) -> StatusCode {
    let store = FlakyStore::new(&Clock::manual());
    let idempotency = Idempotency::builder(Arc::clone(&store)).build();
    let app = Router::new()
        .route("/book", post(book))
        .layer(Extension(idempotency))
        .layer(Extension(store));
    let request = Request::post("/book")
        .header("idempotency-key", "k")
        .header("content-type", "text/plain")
        .body(Body::from(fails_with))
        .expect("a request");
    let response = app.oneshot(request).await.expect("a response");
    response.status()
}

// proves: deaf-store-left-quickly, own-claim-unrecognised
#[tokio::test(start_paused = true)]
async fn a_failure_is_not_sent_while_the_store_cannot_say_whether_an_equal_run_has_committed() {
    for fails_with in ["store", "panic"] {
        let status = send(fails_with).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{fails_with}");
    }
    let status = send("itself").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
}
