//! What the log tells operators: some warnings appear once, however many requests cause them.

use axum::{Extension, Router, body::Body, extract::Request, routing::post};
use idempotency::{
    Execution, Fingerprint, Idempotency, IdempotencyKey, MemoryStore, Options, Scope, idempotent,
};
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

/// The third deployment of a change of the secret waits for what such a run leaves under the old one.
// proves: secret-rotation-loses-no-key
#[tokio::test]
async fn a_run_that_is_resumed_under_the_previous_secret_is_warned_of() {
    let store = MemoryStore::new();
    let builder = || Idempotency::builder(store.clone());
    let first = builder().with_secret(b"old").with_next_secret(b"new");
    let second = builder().with_secret(b"new").with_previous_secret(b"old");
    let (first, second) = (first.build(), second.build());
    let (log, logging) = Log::start();
    let options = Options::new();
    for (name, resumed) in [("k", true), ("l", false)] {
        let key = IdempotencyKey::new(name).expect("a key");
        let (scope, asked) = (Scope::anonymous(), Fingerprint::of([b"book".as_slice()]));
        let fails = async |execution: Execution| {
            let step = execution.step("pay", async { Ok::<_, ()>(1) });
            step.await.map_err(|_| ())?;
            Err::<(), _>(())
        };
        let services = if resumed {
            [&first, &second]
        } else {
            [&second, &second]
        };
        for service in services {
            let failed = service.run_with(&options, &scope, &key, asked, fails);
            failed.await.expect_err("the work fails after its step");
        }
    }
    drop(logging);
    let text = log.text();
    let warnings = text.matches("a run is resumed under the previous secret");
    assert_eq!(warnings.count(), 1, "{text}");
}
