//! How the modules drive their routers.

use axum::{Extension, Router, body::Body};
use http::Request;
use http_body_util::BodyExt;
use idempotency::{Idempotency, MemoryStore};
use tests::reply::Reply;
use tower::ServiceExt;

/// The routes with an engine around them.
pub(crate) fn protected(routes: Router) -> Router {
    routes.layer(Extension(Idempotency::new(MemoryStore::new())))
}

pub(crate) async fn send(app: &Router, method: &str, path: &str, key: &str, body: &str) -> Reply {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("idempotency-key", format!("\"{key}\""))
        .header("content-type", "application/json")
        .body(Body::from(body.to_owned()))
        .expect("a valid request");
    call(app, request).await
}

pub(crate) async fn call(app: &Router, request: Request<Body>) -> Reply {
    let response = app.clone().oneshot(request).await.expect("a response");
    let (head, body) = response.into_parts();
    Reply {
        status: head.status,
        headers: head.headers,
        body: body.collect().await.expect("a body").to_bytes(),
    }
}

/// Sends one request twice: the first time it must run, the second time its response must be replayed.
pub(crate) async fn runs_once(app: &Router, path: &str) -> String {
    let first = send(app, "POST", path, path, "{}").await;
    let is_fresh = first.status.is_success() && !first.is_replay();
    assert!(is_fresh, "{path}: {first:?}");
    let second = send(app, "POST", path, path, "{}").await;
    second.assert_replays(&first);
    second.text().to_owned()
}
