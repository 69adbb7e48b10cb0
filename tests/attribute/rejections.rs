//! The application's own responses to refusals, and what an outer middleware learns of each refusal.

#![deny(warnings)]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Extension, Router,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt;
use idempotency::{
    CommitError, Disposition, Execution, HttpConfig, Idempotency, IdempotencyLayer, MemoryStore,
    Options, http::HttpRejection, idempotent, options::Keep,
};
use tokio::sync::Notify;
use tower::ServiceExt;

#[derive(Clone, Default)]
struct App {
    runs: Arc<AtomicUsize>,
    begun: Arc<Notify>,
    finish: Arc<Notify>,
}

impl App {
    fn run(&self) {
        self.runs.fetch_add(1, Ordering::SeqCst);
    }

    fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }
}

async fn slow_run(State(app): State<App>) {
    app.run();
    app.begun.notify_one();
    app.finish.notified().await;
}

async fn failing_run(State(app): State<App>, _execution: Execution) -> Response {
    app.run();
    CommitError::Failed("no space".into()).into_response()
}

async fn panicking_run(State(app): State<App>) {
    app.run();
    panic!("the handler panics");
}

#[idempotent(required)]
async fn slow(app: State<App>) {
    slow_run(app).await;
}

#[idempotent]
async fn failing(app: State<App>, execution: Execution) -> Response {
    failing_run(app, execution).await
}

#[idempotent]
async fn panicking(app: State<App>) {
    panicking_run(app).await;
}

#[idempotent(keep = "all")]
async fn kept(app: State<App>) {
    panicking_run(app).await;
}

/// The same routes under the attribute, and inside layers.
fn services(http: &HttpConfig) -> [(Router, App); 2] {
    let idempotency = || {
        let builder = Idempotency::builder(MemoryStore::new());
        builder.with_http(http.clone()).build()
    };
    let attributed = Router::new()
        .route("/slow", post(slow))
        .route("/failing", post(failing))
        .route("/panicking", post(panicking))
        .route("/kept", post(kept))
        .layer(Extension(idempotency()));
    let layer = IdempotencyLayer::new(idempotency());
    let required = layer.clone().with_options(Options::new().required());
    let keeping = layer.clone().with_options(Options::new().keep(Keep::All));
    let layered = Router::new()
        .route("/slow", post(slow_run).layer(required))
        .route("/failing", post(failing_run).layer(layer.clone()))
        .route("/panicking", post(panicking_run).layer(layer))
        .route("/kept", post(panicking_run).layer(keeping));
    [attributed, layered].map(|routes| {
        let app = App::default();
        (routes.with_state(app.clone()), app)
    })
}

#[derive(Debug)]
struct Refused {
    status: StatusCode,
    headers: HeaderMap,
    code: Option<&'static str>,
    body: String,
}

impl Refused {
    fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

async fn send(app: &Router, path: &str, key: Option<&str>, body: &'static str) -> Refused {
    let mut request = Request::post(path);
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let request = request.body(Body::from(body)).expect("a request");
    let response = app.clone().oneshot(request).await.expect("a response");
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    Refused {
        status: parts.status,
        headers: parts.headers,
        code: parts.extensions.get().map(HttpRejection::code),
        body: String::from_utf8(body.to_vec()).expect("text"),
    }
}

/// Always 200, as in GraphQL, and marked to be stored.
fn custom(rejection: &HttpRejection) -> Response {
    let body = format!("refused: {}", rejection.code());
    let mut response = (
        StatusCode::OK,
        [(header::CACHE_CONTROL, "private"), (header::VARY, "accept")],
        [
            ("idempotent-replayed", "true"),
            ("idempotency-problem", "own"),
        ],
        Extension(Disposition::Store),
        body,
    )
        .into_response();
    response.headers_mut().remove(header::CONTENT_TYPE);
    response
}

// proves: retry-after-is-short, own-refusals-not-stored, only-replays-marked
#[tokio::test]
async fn an_application_makes_its_own_response_to_a_refusal() {
    let http = HttpConfig::new()
        .with_docs("https://shop.example/retries")
        .with_rejection_response(custom);
    for (app, state) in services(&http) {
        let missing = send(&app, "/slow", None, "").await;
        assert_eq!(missing.status, StatusCode::OK);
        assert_eq!(missing.body, "refused: idempotency_key_missing");
        assert_eq!(missing.code, Some("idempotency_key_missing"));
        assert_eq!(missing.header(header::RETRY_AFTER), None);

        let first = tokio::spawn({
            let app = app.clone();
            async move { send(&app, "/slow", Some("k"), "").await }
        });
        state.begun.notified().await;
        let duplicate = send(&app, "/slow", Some("k"), "").await;
        assert_eq!(duplicate.body, "refused: idempotency_in_progress");
        assert_eq!(duplicate.header(header::RETRY_AFTER), Some("1"));
        assert_eq!(duplicate.header(header::CACHE_CONTROL), Some("private"));
        assert_eq!(duplicate.header(header::VARY), Some("accept"));
        assert_eq!(duplicate.header(header::CONTENT_TYPE), None);
        assert_eq!(duplicate.header("idempotent-replayed"), None);
        let problem = duplicate.header("idempotency-problem");
        assert_eq!(problem, Some("idempotency_in_progress"));
        let link = duplicate.header(header::LINK).expect("a link");
        assert!(link.starts_with("<https://shop.example/retries#in-progress>"));

        state.finish.notify_one();
        let first = first.await.expect("it ends");
        assert_eq!((first.body.as_str(), first.code), ("", None));
        let reused = send(&app, "/slow", Some("k"), "other").await;
        assert_eq!(reused.code, Some("idempotency_key_reused"));
        // The refusals have left the first run's response unchanged.
        let replay = send(&app, "/slow", Some("k"), "").await;
        assert_eq!(replay.header("idempotent-replayed"), Some("true"));
        assert_eq!((replay.body.as_str(), replay.code), ("", None));
        assert_eq!(state.runs(), 1);
    }
}

// proves: failures-free-key, panic-frees-key
#[tokio::test]
async fn what_a_run_ends_with_is_customized_and_not_stored() {
    let http = HttpConfig::new()
        .with_docs("https://shop.example/retries")
        .with_rejection_response(custom);
    for (app, state) in services(&http) {
        for (path, code) in [
            ("/failing", "commit_failed"),
            ("/panicking", "handler_failed"),
        ] {
            let before = state.runs();
            for runs in 1..=2 {
                let refused = send(&app, path, Some(path), "").await;
                assert_eq!(refused.body, format!("refused: {code}"), "{path}");
                assert_eq!(refused.code, Some(code), "{path}");
                assert_eq!(refused.header("idempotency-problem"), Some(code));
                let link = refused.header(header::LINK).expect("a link");
                assert!(link.starts_with("<https://shop.example/retries#"), "{link}");
                assert_eq!(state.runs() - before, runs, "{path}");
            }
        }
        let keyless = send(&app, "/failing", None, "").await;
        assert_eq!(keyless.body, "refused: commit_failed");
    }
}

// proves: failure-stored-on-request
#[tokio::test]
async fn a_panic_that_is_stored_is_replayed_as_it_was_customized() {
    let http = HttpConfig::new().with_rejection_response(custom);
    for (app, state) in services(&http) {
        for replayed in [None, Some("true")] {
            let response = send(&app, "/kept", Some("k"), "").await;
            assert_eq!(response.body, "refused: handler_failed");
            assert_eq!(response.header("idempotent-replayed"), replayed);
        }
        assert_eq!(state.runs(), 1);
    }
}

// proves: panic-frees-key
#[tokio::test]
async fn a_panic_of_the_applications_function_leaves_no_hold_and_runs_nothing_twice() {
    let http = HttpConfig::new().with_rejection_response(|_| -> StatusCode {
        panic!("the application's function panics");
    });
    for (app, state) in services(&http) {
        for (path, code) in [
            ("/slow", "idempotency_key_missing"),
            ("/failing", "commit_failed"),
            ("/panicking", "handler_failed"),
        ] {
            let before = state.runs();
            let key = (path != "/slow").then_some(path);
            for runs in 1..=2 {
                let refused = send(&app, path, key, "").await;
                assert_eq!(refused.code, Some(code), "{path}");
                assert!(refused.body.contains(code), "{path}: {}", refused.body);
                let content_type = refused.header(header::CONTENT_TYPE);
                assert_eq!(content_type, Some("application/problem+json"), "{path}");
                // The key is free at once, not only after its lease.
                let expected = if key.is_some() { runs } else { 0 };
                assert_eq!(state.runs() - before, expected, "{path}");
            }
        }
    }
}

// proves: own-refusals-not-stored
#[tokio::test]
async fn every_refusal_says_in_its_extensions_what_it_is() {
    for (app, _) in services(&HttpConfig::new()) {
        for (path, key, code) in [
            ("/slow", None, "idempotency_key_missing"),
            ("/slow", Some("not a key"), "idempotency_key_malformed"),
            ("/failing", Some("k"), "commit_failed"),
            ("/failing", None, "commit_failed"),
            ("/panicking", Some("k"), "handler_failed"),
        ] {
            let refused = send(&app, path, key, "").await;
            assert_eq!(refused.code, Some(code), "{path}");
            assert!(refused.body.contains(code), "{path}: {}", refused.body);
        }
    }
    let without_engine = Router::new()
        .route("/attributed", post(slow))
        .route("/unprotected", post(failing_run))
        .with_state(App::default());
    for path in ["/attributed", "/unprotected"] {
        let refused = send(&without_engine, path, Some("k"), "").await;
        assert_eq!(refused.code, Some("idempotency_misconfigured"), "{path}");
    }
}
