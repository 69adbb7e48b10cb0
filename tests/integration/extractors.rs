//! Extractors that fail before the handler begins.

use axum::{Router, extract::FromRequestParts, http::request::Parts, routing::post};
use http::StatusCode;
use idempotency::idempotent;
use tests::reply::Reply;

use crate::{
    app::Probe,
    test_server::{BOOKING, TestServer},
};

pub(crate) fn routes() -> Router<Probe> {
    Router::new().route("/extracted", post(count_with_account))
}

/// An extractor that panics where its header field is missing.
struct Account(Probe);

impl FromRequestParts<Probe> for Account {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, probe: &Probe) -> Result<Self, StatusCode> {
        parts.headers.get("x-account").expect("the test wants it");
        Ok(Self(probe.clone()))
    }
}

#[idempotent(ttl_seconds = 3600, keep = "all")]
async fn count_with_account(Account(probe): Account) -> String {
    probe.count().to_string()
}

// proves: extractor-refusals-free-key, panic-frees-key
#[tokio::test]
async fn an_extractors_panic_is_not_stored_because_the_handler_has_not_begun() {
    let server = TestServer::new().await;
    let request = || server.post("/extracted", "k", BOOKING);
    for _ in 0..2 {
        Reply::to(request()).await.assert_problem("handler_failed");
    }
    assert_eq!((server.probe.runs(), server.records().await), (0, 0));
    let first = Reply::to(request().header("x-account", "ann")).await;
    first.assert_fresh(200);
    Reply::to(request()).await.assert_replays(&first);
}
