//! What the log tells operators: some warnings appear once, however many requests cause them.

use axum::{Extension, Router, body::Body, extract::Request, routing::post};
use idempotency::{Idempotency, MemoryStore, idempotent};
use tests::log::Log;
use tower::ServiceExt;

#[idempotent]
async fn book() -> &'static str {
    "booked"
}

/// The lines of the log, after ten requests of each kind.
async fn warned_of(headers: &[&[(&str, &str)]]) -> Vec<String> {
    let (log, logging) = Log::start();
    let app: Router = Router::new()
        .route("/book", post(book))
        .layer(Extension(Idempotency::new(MemoryStore::new())));
    for _ in 0..10 {
        for headers in headers {
            let request = headers
                .iter()
                .fold(Request::post("/book"), |request, header| {
                    request.header(header.0, header.1)
                });
            let request = request.body(Body::empty()).expect("a request");
            let response = app.clone().oneshot(request).await.expect("a response");
            assert_eq!(response.status(), 200);
        }
    }
    drop(logging);
    log.text().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn cookies_that_are_not_named_are_warned_of_once() {
    let lines = warned_of(&[
        &[("idempotency-key", "k"), ("cookie", "session=1")],
        &[
            ("idempotency-key", "l"),
            ("cookie", "session=2; theme=dark"),
        ],
    ])
    .await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("with_session_cookie"), "{lines:?}");
}

#[tokio::test]
async fn a_key_in_a_field_of_another_name_is_warned_of_once() {
    let lines = warned_of(&[
        &[("x-idempotency-key", "k")],
        &[("idempotent-key", "k")],
        &[("idempotence-key", "k")],
    ])
    .await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("with_former_key_header"), "{lines:?}");
}

#[tokio::test]
async fn a_refusal_for_a_store_that_failed_says_which_one() {
    let (log, logging) = Log::start();
    let full = MemoryStore::new().with_limit_bytes(0);
    let app: Router = Router::new()
        .route("/book", post(book))
        .layer(Extension(Idempotency::new(full)));
    let request = Request::post("/book").header("idempotency-key", "k");
    let request = request.body(Body::empty()).expect("a request");
    let response = app.oneshot(request).await.expect("a response");
    assert_eq!(response.status(), 503);
    drop(logging);
    let text = log.text();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("idempotency.store=\"memory\""), "{text}");
    assert!(text.contains("`memory` is full"), "{text}");
}
