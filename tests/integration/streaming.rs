//! Responses that are streamed slowly.

use axum::{Router, body::Body, extract::State, response::Response, routing::post};
use futures_util::{StreamExt, stream};
use http::{HeaderValue, header};
use idempotency::idempotent;
use reqwest::Method;
use tests::reply::Reply;

use crate::{app::Probe, test_server::TestServer};

pub(crate) fn routes() -> Router<Probe> {
    Router::new()
        .route("/events", post(send_events))
        .route("/pieces", post(send_pieces))
}

#[idempotent(ttl_seconds = 3600)]
async fn send_events(State(probe): State<Probe>) -> Response {
    let mut response = Response::new(two_pieces(probe));
    let events = HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, events);
    response
}

#[idempotent(ttl_seconds = 3600)]
async fn send_pieces(State(probe): State<Probe>) -> Response {
    Response::new(two_pieces(probe))
}

/// The second piece is sent when the test allows it.
fn two_pieces(probe: Probe) -> Body {
    let run = probe.count();
    let second = async move {
        probe.stop(run).await;
        Ok::<_, std::io::Error>("data: 2\n\n")
    };
    Body::from_stream(stream::iter([Ok("data: 1\n\n")]).chain(stream::once(second)))
}

// proves: finite-stream-stored-whole, endless-stream-withheld
#[tokio::test]
async fn an_event_reaches_its_client_while_the_stream_goes_on() {
    let server = TestServer::new().await;
    let request = || {
        server
            .request(Method::POST, "/events")
            .header("idempotency-key", "k")
    };
    let mut response = request().send().await.expect("a response");
    let first = response.chunk().await.expect("a piece");
    assert_eq!(first.as_deref(), Some(b"data: 1\n\n".as_slice()));
    // The run is recorded and not repeated, but no whole response exists to replay.
    Reply::to(request())
        .await
        .assert_problem("idempotency_response_not_stored");
    server.probe.proceed();
    let second = response.chunk().await.expect("a piece");
    assert_eq!(second.as_deref(), Some(b"data: 2\n\n".as_slice()));
    assert_eq!(response.chunk().await.expect("an end"), None);
    assert_eq!(server.probe.runs(), 1);
}

// proves: keyless-request-passes
#[tokio::test]
async fn without_a_key_a_response_is_sent_as_it_is_made() {
    let server = TestServer::new().await;
    let request = server.request(Method::POST, "/pieces");
    let mut response = request.send().await.expect("a response");
    let first = response.chunk().await.expect("a piece");
    assert_eq!(first.as_deref(), Some(b"data: 1\n\n".as_slice()));
    server.probe.proceed();
    let second = response.chunk().await.expect("a piece");
    assert_eq!(second.as_deref(), Some(b"data: 2\n\n".as_slice()));
    assert_eq!(server.records().await, 0);
}

// proves: running-duplicate-gets-409, replay-keeps-body
#[tokio::test]
async fn a_run_ends_with_the_last_byte_of_its_response() {
    let server = TestServer::new().await;
    let request = || {
        server
            .request(Method::POST, "/pieces")
            .header("idempotency-key", "k")
    };
    let running = server.send(request());
    server.probe.started().await;
    // A partial body is never replayed.
    Reply::to(request())
        .await
        .assert_problem("idempotency_in_progress");
    server.probe.proceed();
    let first = running.await.expect("a response");
    assert_eq!(first.text(), "data: 1\n\ndata: 2\n\n");
    Reply::to(request()).await.assert_replays(&first);
}
