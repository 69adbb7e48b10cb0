//! How long a body may be to be stored.

#![deny(warnings)]

use axum::{
    Extension, Router,
    body::{Body, Bytes},
    extract::Path,
    routing::post,
};
use http::StatusCode;
use idempotency::{
    HttpConfig, Idempotency, IdempotencyLayer, MemoryStore, SqliteStore, idempotent,
};

use crate::support::send;

const MIB: usize = 1024 * 1024;

/// A body of this length, announced or not.
async fn padding(Path((length, is_streamed)): Path<(usize, bool)>) -> Body {
    let bytes = Bytes::from("x".repeat(length));
    if is_streamed {
        let half = length / 2;
        let halves = [bytes.slice(..half), bytes.slice(half..)];
        Body::from_stream(futures_util::stream::iter(
            halves.map(Ok::<_, std::io::Error>),
        ))
    } else {
        Body::from(bytes)
    }
}

#[idempotent]
async fn attributed(length: Path<(usize, bool)>) -> Body {
    padding(length).await
}

fn app(http: HttpConfig) -> Router {
    let idempotency = Idempotency::builder(MemoryStore::new())
        .with_http(http)
        .build();
    let layer = IdempotencyLayer::new(idempotency.clone());
    Router::new()
        .route("/attribute/{length}/{is_streamed}", post(attributed))
        .layer(Extension(idempotency))
        .route("/layer/{length}/{is_streamed}", post(padding).layer(layer))
}

// proves: oversized-response-leaves-tombstone
#[tokio::test]
async fn a_body_is_stored_up_to_the_limit_that_the_service_has_set() {
    for (http, most) in [
        (HttpConfig::new(), MIB),
        (HttpConfig::new().with_max_stored_body(3 * MIB), 3 * MIB),
        (HttpConfig::new().with_max_stored_body(100), 100),
    ] {
        let app = app(http);
        for path in ["/attribute", "/layer"] {
            for is_streamed in [false, true] {
                let stored = format!("{path}/{most}/{is_streamed}");
                for replayed in [false, true] {
                    let response = send(&app, "POST", &stored, &stored, "").await;
                    assert_eq!(response.status, StatusCode::OK, "{stored}");
                    assert_eq!(response.body.len(), most, "{stored}");
                    assert_eq!(response.is_replay(), replayed, "{stored}");
                }
                let longer = format!("{path}/{}/{is_streamed}", most + 1);
                let first = send(&app, "POST", &longer, &longer, "").await;
                assert_eq!(first.body.len(), most + 1, "{longer}");
                let again = send(&app, "POST", &longer, &longer, "").await;
                assert_eq!(again.status, StatusCode::CONFLICT, "{longer}");
                assert!(again.text().contains("response_not_stored"), "{longer}");
            }
        }
    }
}

// proves: oversized-response-leaves-tombstone
#[test]
#[should_panic(
    expected = "with_max_stored_body(1000000000) is more than the store `sqlite` can hold, which is"
)]
fn a_limit_above_that_of_the_store_is_a_mistake() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(folder.path().join("keys.db")).expect("a store");
    let http = HttpConfig::new().with_max_stored_body(1_000_000_000);
    let _ = Idempotency::builder(store).with_http(http).build();
}
