//! Every kind of handler, driven through a router: the first request runs, its retry is answered by replay.

#![deny(
    warnings,
    missing_docs,
    rust_2018_idioms,
    unreachable_pub,
    unused_qualifications
)]
#![expect(
    clippy::too_many_arguments,
    reason = "handlers may be written like that"
)]

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{FromRef, Path, Query, Request, State},
    http::{HeaderMap, StatusCode, Uri, request::Parts},
    response::{IntoResponse, Response},
    routing::post,
};
use idempotency::{Scope, idempotent};
use serde::{Deserialize, Serialize};

use crate::support::{protected, runs_once};

#[derive(Clone, Default)]
struct Runs(Arc<AtomicUsize>);

impl Runs {
    fn next(&self) -> usize {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }
}

#[derive(Clone)]
struct App {
    runs: Runs,
}

impl FromRef<App> for Runs {
    fn from_ref(app: &App) -> Self {
        app.runs.clone()
    }
}

#[derive(Deserialize, Serialize)]
struct New {
    #[serde(default)]
    name: String,
}

struct Failure;

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        StatusCode::CONFLICT.into_response()
    }
}

static WITHOUT_STATE: AtomicUsize = AtomicUsize::new(0);

#[idempotent]
async fn bare() {
    WITHOUT_STATE.fetch_add(1, Ordering::SeqCst);
}

#[idempotent()]
async fn text() -> &'static str {
    "text"
}

#[idempotent(ttl_seconds = 3600)]
async fn patterns(
    State(runs): State<Runs>,
    Query(mut query): Query<Vec<(String, String)>>,
    mut headers: HeaderMap,
    Json(New { name }): Json<New>,
) -> (StatusCode, String) {
    query.clear();
    headers.clear();
    (StatusCode::CREATED, format!("{} {name}", runs.next()))
}

#[idempotent(required, lease_seconds = 5, ttl_seconds = 10)]
async fn result(State(app): State<App>) -> Result<Json<New>, Failure> {
    let name = app.runs.next().to_string();
    if name.is_empty() {
        Err(Failure)
    } else {
        Ok(Json(New { name }))
    }
}

#[idempotent(keep = "all", on_duplicate = "wait", on_lost = "refuse")]
async fn opaque(State(runs): State<Runs>) -> impl IntoResponse {
    runs.next().to_string()
}

#[idempotent]
async fn opaque_result(State(runs): State<Runs>) -> Result<impl IntoResponse, Failure> {
    let run = runs.next();
    if run == 0 {
        Err(Failure)
    } else {
        Ok((StatusCode::CREATED, run.to_string()))
    }
}

#[idempotent]
async fn opaque_pair(State(runs): State<Runs>) -> (StatusCode, impl IntoResponse) {
    (StatusCode::ACCEPTED, runs.next().to_string())
}

#[idempotent]
async fn whole_request(request: Request) -> String {
    request.uri().to_string()
}

#[idempotent]
async fn awaits(State(runs): State<Runs>, body: Bytes) -> Response {
    tokio::task::yield_now().await;
    format!("{} {}", runs.next(), body.len()).into_response()
}

#[idempotent]
async fn r#move(Path(name): Path<String>) -> String {
    name
}

#[idempotent]
async fn many(
    _: Uri,
    _: Uri,
    _: Uri,
    _: Uri,
    _: Uri,
    _: Uri,
    _: Uri,
    _: Uri,
    _: Uri,
    _: Uri,
    _: Uri,
    _: Uri,
    _: Uri,
    _: Uri,
    _: Uri,
    body: String,
) -> String {
    body
}

/// Items inside the function may use `Self`.
#[idempotent]
async fn own_items() -> String {
    struct Local(u8);

    impl Local {
        fn new() -> Self {
            Self(7)
        }
    }

    Local::new().0.to_string()
}

struct Bookings;

impl Bookings {
    #[idempotent(ttl_seconds = 60)]
    async fn create(State(runs): State<Runs>) -> String {
        runs.next().to_string()
    }

    /// Documentation of a handler in an `impl` block.
    #[idempotent(scope = everybody)]
    pub(crate) async fn cancel(State(runs): State<Runs>) -> String {
        runs.next().to_string()
    }
}

fn everybody(_: &Parts) -> Result<Scope, Box<dyn Error + Send + Sync>> {
    Ok(Scope::anonymous())
}

#[tokio::test]
async fn every_kind_of_handler_replays() {
    let app = App {
        runs: Runs::default(),
    };
    let routes = Router::new()
        .route("/bare", post(bare))
        .route("/text", post(text))
        .route("/patterns", post(patterns))
        .route("/result", post(result))
        .route("/opaque", post(opaque))
        .route("/opaque_result", post(opaque_result))
        .route("/opaque_pair", post(opaque_pair))
        .route("/whole_request", post(whole_request))
        .route("/awaits", post(awaits))
        .route("/named/{name}", post(r#move))
        .route("/many", post(many))
        .route("/own_items", post(own_items))
        .route("/create", post(Bookings::create))
        .route("/cancel", post(Bookings::cancel))
        .with_state(app.clone());
    let router = protected(routes);

    // Where the body counts the runs, the state holds the run's number.
    assert_eq!(runs_once(&router, "/bare").await, "");
    assert_eq!(WITHOUT_STATE.load(Ordering::SeqCst), 1);
    assert_eq!(runs_once(&router, "/text").await, "text");
    assert_eq!(runs_once(&router, "/patterns").await, "1 ");
    assert_eq!(runs_once(&router, "/result").await, r#"{"name":"2"}"#);
    assert_eq!(runs_once(&router, "/opaque").await, "3");
    assert_eq!(runs_once(&router, "/opaque_result").await, "4");
    assert_eq!(runs_once(&router, "/opaque_pair").await, "5");
    assert_eq!(runs_once(&router, "/whole_request").await, "/whole_request");
    assert_eq!(runs_once(&router, "/awaits").await, "6 2");
    assert_eq!(runs_once(&router, "/named/move").await, "move");
    assert_eq!(runs_once(&router, "/many").await, "{}");
    assert_eq!(runs_once(&router, "/own_items").await, "7");
    assert_eq!(runs_once(&router, "/create").await, "7");
    assert_eq!(runs_once(&router, "/cancel").await, "8");
    assert_eq!(app.runs.next(), 9);
}
