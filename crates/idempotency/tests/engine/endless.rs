//! Responses that are slow to end, or never end.

use std::{convert::Infallible, time::Duration};

use axum::{body::Body, response::Response};
use futures_util::{Stream, StreamExt, stream};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use idempotency::{Idempotency, IdempotencyLayer, MemoryStore};
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceExt, service_fn};

/// A line after each second.
fn lines(count: usize) -> impl Stream<Item = Result<String, Infallible>> {
    stream::iter(1..=count).then(|number| async move {
        sleep(Duration::from_secs(1)).await;
        Ok(format!("{{\"line\":{number}}}\n"))
    })
}

/// Responds with this many lines.
fn service(
    lines_sent: usize,
    media_type: &'static str,
) -> impl Service<Request<Body>, Response = Response, Error = Infallible, Future: Send> + Clone {
    let reply = service_fn(move |_: axum::extract::Request| async move {
        let mut response = Response::new(Body::from_stream(lines(lines_sent)));
        response
            .headers_mut()
            .insert("content-type", media_type.parse().expect("a type"));
        Ok::<_, Infallible>(response)
    });
    IdempotencyLayer::new(Idempotency::new(MemoryStore::new())).layer(reply)
}

fn request() -> Request<Body> {
    Request::post("/export")
        .header("idempotency-key", "k")
        .body(Body::empty())
        .expect("a request")
}

async fn retry(
    service: impl Service<Request<Body>, Response = Response, Error = Infallible>,
) -> Response {
    service.oneshot(request()).await.expect("a response")
}

async fn assert_not_stored(response: Response) {
    assert_eq!(response.status(), StatusCode::CONFLICT);
    let body = response.into_body().collect().await.expect("a body");
    let body = String::from_utf8(body.to_bytes().into()).expect("text");
    assert!(body.contains("idempotency_response_not_stored"), "{body}");
}

// proves: endless-response-streams-through
#[tokio::test(start_paused = true)]
async fn a_response_without_an_end_reaches_its_client_after_ten_seconds_and_leaves_a_tombstone() {
    let service = service(100_000_000, "application/x-ndjson");
    let begun = Instant::now();
    let mut response = retry(service.clone()).await;
    assert_eq!(begun.elapsed(), Duration::from_secs(10));
    // It is stored before the first byte is sent.
    assert_not_stored(retry(service).await).await;
    for number in 1..=30 {
        let frame = response
            .body_mut()
            .frame()
            .await
            .expect("a frame")
            .expect("data");
        let line = format!("{{\"line\":{number}}}\n");
        assert_eq!(frame.into_data().expect("data"), line.as_bytes());
    }
    assert_eq!(begun.elapsed(), Duration::from_secs(30));
}

// proves: finite-stream-stored-whole
#[tokio::test(start_paused = true)]
async fn a_response_that_ends_within_ten_seconds_is_stored_whole() {
    let service = service(9, "application/x-ndjson");
    let first = retry(service.clone()).await;
    let first = first
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    assert_eq!(first.iter().filter(|&&byte| byte == b'\n').count(), 9);
    let again = retry(service).await;
    assert_eq!(again.headers()["idempotent-replayed"], "true");
    let again = again
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    assert_eq!(again, first);
}

// proves: endless-response-streams-through
#[tokio::test(start_paused = true)]
async fn a_run_whose_client_has_left_a_response_without_an_end_ends_too() {
    let service = service(100_000_000, "application/x-ndjson");
    let first = tokio::time::timeout(Duration::from_secs(3), retry(service.clone()));
    assert!(first.await.is_err());
    let early = retry(service.clone()).await;
    let body = early
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("idempotency_in_progress"));
    sleep(Duration::from_secs(8)).await;
    assert_not_stored(retry(service).await).await;
}

// proves: endless-response-streams-through
#[tokio::test(start_paused = true)]
async fn an_event_stream_passes_at_once_however_its_type_is_written() {
    for media_type in [
        "text/event-stream",
        "Text/Event-Stream; charset=utf-8",
        " text/event-stream ;a=b",
    ] {
        let service = service(100_000_000, media_type);
        let begun = Instant::now();
        let mut response = retry(service.clone()).await;
        assert_eq!(begun.elapsed(), Duration::ZERO, "{media_type}");
        response
            .body_mut()
            .frame()
            .await
            .expect("a frame")
            .expect("data");
        assert_not_stored(retry(service).await).await;
    }
}
