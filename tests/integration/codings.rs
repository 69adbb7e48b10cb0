//! Bodies with a `Content-Encoding` under a layer.

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use idempotency::{Idempotency, IdempotencyLayer};
use serde_json::{Value, json};
use tests::reply::Reply;
use tower_http::decompression::RequestDecompressionLayer;

use crate::{
    app::Probe,
    test_server::{BOOKING, TestServer},
    transport::gzip,
};

/// A service that decodes its bodies itself, inside the protection.
pub(crate) fn routes(idempotency: &Idempotency) -> Router<Probe> {
    Router::new()
        .route("/bookings", post(book))
        .layer(RequestDecompressionLayer::new())
        .layer(IdempotencyLayer::new(idempotency.clone()))
}

async fn book(State(probe): State<Probe>, Json(new): Json<Value>) -> (StatusCode, Json<Value>) {
    let booking = json!({ "run": probe.count(), "booking": new });
    (StatusCode::CREATED, Json(booking))
}

// proves: body-compared-decoded, unread-encoding-gets-415
#[tokio::test]
async fn what_the_service_inside_can_decode_reaches_it() {
    let server = TestServer::new().await;
    let packed = || {
        server
            .post("/decoding/bookings", "k", "")
            .header("content-encoding", "gzip")
            .body(gzip(BOOKING.as_bytes()))
    };
    let first = Reply::to(packed()).await;
    first.assert_fresh(201);
    Reply::to(packed()).await.assert_replays(&first);
    assert_eq!(server.probe.runs(), 1);
}

// proves: unread-encoding-gets-415, stored-rejection-shadows-correction
#[tokio::test]
async fn a_coding_that_the_service_inside_refuses_leaves_the_key_free() {
    let server = TestServer::new().await;
    let unheard = server
        .post("/decoding/bookings", "k", BOOKING)
        .header("content-encoding", "x-unheard-of");
    let refused = Reply::to(unheard).await;
    assert_eq!(refused.status(), "415 Unsupported Media Type");
    assert!(refused.header("accept-encoding").is_some());
    assert_eq!((server.probe.runs(), server.records().await), (0, 0));
    let plain = server.post("/decoding/bookings", "k", BOOKING);
    Reply::to(plain).await.assert_fresh(201);
}
