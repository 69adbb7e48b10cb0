//! What the attribute promises of a handler, and what its options change.

#![deny(warnings)]

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode, request::Parts},
    routing::{delete, post, put},
};
use idempotency::{Scope, idempotent};
use serde::Deserialize;
use tests::reply::Reply;
use tokio::{sync::Notify, task::JoinHandle, time::sleep};
use tower::ServiceExt;

use crate::support::{protected, send};

#[derive(Clone, Default)]
struct App {
    runs: Arc<AtomicUsize>,
    entered: Arc<Notify>,
    finish: Arc<Notify>,
}

impl App {
    fn next(&self) -> String {
        (self.runs.fetch_add(1, Ordering::SeqCst) + 1).to_string()
    }

    fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }
}

#[derive(Deserialize)]
struct New {
    number: u8,
}

#[idempotent(ttl_seconds = 60)]
async fn create(State(app): State<App>, Json(new): Json<New>) -> (StatusCode, String) {
    (
        StatusCode::CREATED,
        format!("{} {}", app.next(), new.number),
    )
}

#[idempotent]
async fn refuse(State(app): State<App>) -> (StatusCode, String) {
    (StatusCode::UNPROCESSABLE_ENTITY, app.next())
}

#[idempotent]
async fn change(State(app): State<App>, headers: HeaderMap) -> Result<String, StatusCode> {
    match (app.runs(), headers.contains_key("idempotency-key")) {
        (0, true) => Ok(app.next()),
        _ => Err(StatusCode::PRECONDITION_FAILED),
    }
}

#[idempotent]
async fn remove(State(app): State<App>) -> StatusCode {
    match app.next().as_str() {
        "1" => StatusCode::NO_CONTENT,
        _ => StatusCode::NOT_FOUND,
    }
}

#[idempotent]
async fn fail(State(app): State<App>) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, app.next())
}

#[idempotent(keep = "all")]
async fn fail_for_good(State(app): State<App>) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, app.next())
}

#[idempotent(required)]
async fn require(State(app): State<App>) -> String {
    app.next()
}

#[idempotent(on_duplicate = "wait", lease_seconds = 20)]
async fn slow(State(app): State<App>) -> String {
    app.entered.notify_one();
    app.finish.notified().await;
    app.next()
}

#[idempotent]
async fn slow_and_impatient(State(app): State<App>) -> String {
    app.entered.notify_one();
    app.finish.notified().await;
    app.next()
}

#[idempotent(scope = by_user, fingerprint = first_letter)]
async fn custom(State(app): State<App>) -> String {
    app.next()
}

fn by_user(head: &Parts) -> Result<Scope, Box<dyn Error + Send + Sync>> {
    let path = head.uri.query().ok_or("no user")?;
    Ok(Scope::principal(path))
}

fn first_letter(_: &Parts, body: &Bytes) -> Vec<u8> {
    body.iter().copied().take(1).collect()
}

fn service() -> (App, Router) {
    let app = App::default();
    let routes = Router::new()
        .route("/create", post(create))
        .route("/refuse", post(refuse))
        .route("/change", put(change))
        .route("/remove", delete(remove))
        .route("/fail", post(fail))
        .route("/fail_for_good", post(fail_for_good))
        .route("/require", post(require))
        .route("/slow", post(slow))
        .route("/custom", post(custom))
        .route("/slow_and_impatient", post(slow_and_impatient))
        .with_state(app.clone());
    (app, protected(routes))
}

// proves: extractor-refusals-free-key
#[tokio::test(start_paused = true)]
async fn a_refusal_of_an_extractor_leaves_the_key_free() {
    let (app, router) = service();
    let refused = send(&router, "POST", "/create", "k", r#"{"number":"one"}"#).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let corrected = send(&router, "POST", "/create", "k", r#"{"number":1}"#).await;
    assert_eq!(
        (corrected.status, corrected.is_replay()),
        (StatusCode::CREATED, false)
    );
    let retried = send(&router, "POST", "/create", "k", r#"{"number":1}"#).await;
    retried.assert_replays(&corrected);
    assert_eq!(app.runs(), 1);
}

// proves: handler-refusals-stored
#[tokio::test(start_paused = true)]
async fn a_4xx_of_the_handler_is_the_response_to_every_retry() {
    let (app, router) = service();
    let first = send(&router, "POST", "/refuse", "k", "").await;
    assert_eq!(
        (first.status, first.is_replay()),
        (StatusCode::UNPROCESSABLE_ENTITY, false)
    );
    let second = send(&router, "POST", "/refuse", "k", "").await;
    second.assert_replays(&first);
    assert_eq!(app.runs(), 1);
}

// proves: conditions-judged-once
#[tokio::test(start_paused = true)]
async fn a_condition_is_evaluated_once() {
    let (app, router) = service();
    let first = send(&router, "PUT", "/change", "k", "").await;
    assert_eq!((first.status, first.is_replay()), (StatusCode::OK, false));
    let second = send(&router, "PUT", "/change", "k", "").await;
    second.assert_replays(&first);
    let other_key = send(&router, "PUT", "/change", "l", "").await;
    assert_eq!(other_key.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(app.runs(), 1);
}

// proves: put-delete-by-attribute
#[tokio::test(start_paused = true)]
async fn a_retried_delete_gets_the_first_response() {
    let (app, router) = service();
    for replayed in [false, true] {
        let response = send(&router, "DELETE", "/remove", "k", "").await;
        assert_eq!(
            (response.status, response.is_replay()),
            (StatusCode::NO_CONTENT, replayed)
        );
    }
    assert_eq!(app.runs(), 1);
}

// proves: failures-free-key
#[tokio::test(start_paused = true)]
async fn a_5xx_is_kept_only_on_demand() {
    let (_, router) = service();
    for run in ["1", "2"] {
        let response = send(&router, "POST", "/fail", "k", "").await;
        assert_eq!((response.text(), response.is_replay()), (run, false));
    }
    for replayed in [false, true] {
        let response = send(&router, "POST", "/fail_for_good", "l", "").await;
        assert_eq!((response.text(), response.is_replay()), ("3", replayed));
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_is_optional_unless_required() {
    let (app, router) = service();
    let unprotected = without_key(&router, "/refuse").await;
    assert_eq!(unprotected, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(
        without_key(&router, "/require").await,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(app.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_waits_if_it_shall() {
    let (app, router) = service();
    let first = spawn(&router, "/slow");
    app.entered.notified().await;
    let second = spawn(&router, "/slow");
    // Paused time moves only when nothing else can: by then the duplicate has met the first run.
    sleep(Duration::from_millis(1)).await;
    assert!(!second.is_finished());
    app.finish.notify_one();
    let first = first.await.expect("no panic");
    assert_eq!((first.text(), first.is_replay()), ("1", false));
    second.await.expect("no panic").assert_replays(&first);
    assert_eq!(app.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_that_does_not_wait_is_refused() {
    let (app, router) = service();
    let first = spawn(&router, "/slow_and_impatient");
    app.entered.notified().await;
    let second = send(&router, "POST", "/slow_and_impatient", "k", "").await;
    assert_eq!(
        (second.status, second.is_replay()),
        (StatusCode::CONFLICT, false)
    );
    app.finish.notify_one();
    assert_eq!(first.await.expect("no panic").body, "1");
}

#[tokio::test(start_paused = true)]
async fn functions_decide_on_scope_and_fingerprint() {
    let (app, router) = service();
    let ann = send(&router, "POST", "/custom?ann", "k", "one").await;
    assert_eq!((ann.text(), ann.is_replay()), ("1", false));
    let bob = send(&router, "POST", "/custom?bob", "k", "one").await;
    assert_eq!((bob.text(), bob.is_replay()), ("2", false));
    let equal = send(&router, "POST", "/custom?ann", "k", "other").await;
    equal.assert_replays(&ann);
    let unequal = send(&router, "POST", "/custom?ann", "k", "two").await;
    assert_eq!(unequal.status, StatusCode::UNPROCESSABLE_ENTITY);
    let nobody = send(&router, "POST", "/custom", "k", "one").await;
    assert_eq!(nobody.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(app.runs(), 2);
}

fn spawn(router: &Router, path: &'static str) -> JoinHandle<Reply> {
    let router = router.clone();
    tokio::spawn(async move { send(&router, "POST", path, "k", "").await })
}

async fn without_key(router: &Router, path: &str) -> StatusCode {
    let request = Request::post(path)
        .body(Body::empty())
        .expect("a valid request");
    router
        .clone()
        .oneshot(request)
        .await
        .expect("a response")
        .status()
}
