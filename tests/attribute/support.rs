//! How the modules drive their routers.

use axum::{Extension, Router, body::Body};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use idempotency::{Idempotency, MemoryStore};
use tower::ServiceExt;

#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) replayed: bool,
    pub(crate) body: String,
}

/// The routes with an engine around them.
pub(crate) fn protected(routes: Router) -> Router {
    routes.layer(Extension(Idempotency::new(MemoryStore::new())))
}

pub(crate) async fn send(app: &Router, method: &str, path: &str, key: &str, body: &str) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("idempotency-key", format!("\"{key}\""))
        .header("content-type", "application/json")
        .body(Body::from(body.to_owned()))
        .expect("a valid request");
    let response = app.clone().oneshot(request).await.expect("an answer");
    let status = response.status();
    let replayed = response.headers().contains_key("idempotent-replayed");
    let body = response.into_body().collect().await.expect("a body");
    Answer {
        status,
        replayed,
        body: String::from_utf8(body.to_bytes().to_vec()).expect("text"),
    }
}

/// Sends one request twice: the first time it must run, the second time its answer must be replayed.
pub(crate) async fn runs_once(app: &Router, path: &str) -> String {
    let first = send(app, "POST", path, path, "{}").await;
    assert!(
        first.status.is_success() && !first.replayed,
        "{path}: {first:?}"
    );
    let second = send(app, "POST", path, path, "{}").await;
    assert_eq!(
        second,
        Answer {
            replayed: true,
            ..first
        },
        "{path}"
    );
    second.body
}
