//! Responses that have no value to replay with, and values that nothing replays.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Extension, Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use idempotency::{
    Disposition, HttpConfig, Idempotency, IdempotencyLayer, MemoryStore, ReplayWith, idempotent,
};
use serde::{Serialize, Serializer};
use tests::log::Log;

use super::{SECRET, VALUE, outcomes};
use crate::support::{protected, send};

/// How often the handlers have run.
type Runs = Arc<AtomicUsize>;

/// What serde cannot write: by an error, or by a panic.
struct Unwritable(bool);

impl Serialize for Unwritable {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        assert!(!self.0, "a panic of the value's own code");
        Err(serde::ser::Error::custom("not written"))
    }
}

/// The response of this name. Each has the secret in its body, and some in a Location.
fn respond(runs: &Runs, name: &str) -> Response {
    runs.fetch_add(1, Ordering::SeqCst);
    let secret = ([("location", SECRET)], SECRET);
    match name {
        "none" => secret.into_response(),
        "moved" => (StatusCode::SEE_OTHER, secret).into_response(),
        "unwritable" => (ReplayWith(Unwritable(false)), secret).into_response(),
        "panics" => (ReplayWith(Unwritable(true)), secret).into_response(),
        "long" => (ReplayWith("v".repeat(99)), secret).into_response(),
        "longest" => (ReplayWith("v".repeat(98)), secret).into_response(),
        "tombstone" => {
            let unwanted = (Extension(Disposition::Tombstone), ReplayWith(7));
            (unwanted.0, unwanted.1, SECRET).into_response()
        }
        "stored" => (Extension(Disposition::Store), "stored").into_response(),
        "refused" => (StatusCode::CONFLICT, "no room").into_response(),
        "refused-with-value" => (StatusCode::CONFLICT, ReplayWith(7), secret).into_response(),
        "released" => (Extension(Disposition::Release), ReplayWith(7), secret).into_response(),
        "failed" => (StatusCode::BAD_GATEWAY, ReplayWith(7), secret).into_response(),
        other => panic!("{other}"),
    }
}

#[idempotent(replay = show)]
async fn rebuilds(Extension(runs): Extension<Runs>, name: String) -> Response {
    respond(&runs, &name)
}

async fn show(ReplayWith(value): ReplayWith<serde_json::Value>) -> String {
    value.to_string()
}

#[idempotent]
async fn stores(Extension(runs): Extension<Runs>, name: String) -> Response {
    respond(&runs, &name)
}

#[idempotent]
async fn misplaced(ReplayWith(()): ReplayWith<()>) {}

/// Sends it twice. Returns the code, or else the text, of the second response, and how often the handler ran.
async fn retried(app: &Router, runs: &Runs, path: &str, name: &str) -> (String, usize) {
    let before = runs.load(Ordering::SeqCst);
    let first = send(app, "POST", path, name, name).await;
    assert!(first.header("idempotent-replayed").is_none());
    let retry = send(app, "POST", path, name, name).await;
    assert_eq!(retry.header("location"), None, "{name}");
    let times = runs.load(Ordering::SeqCst) - before;
    let is_problem = retry.header("content-type") == Some("application/problem+json");
    let told = match is_problem {
        true => retry.json()["code"].as_str().expect("a code").to_owned(),
        false => retry.text().to_owned(),
    };
    (told, times)
}

// proves: rebuilt-response-not-stored, oversized-response-leaves-tombstone
#[tokio::test]
async fn a_response_without_its_value_is_not_stored_and_does_not_run_again() {
    let (log, _logging) = Log::start();
    let runs = Runs::default();
    let http = HttpConfig::new().with_max_stored_body(100);
    let engine = Idempotency::builder(MemoryStore::new())
        .with_http(http)
        .build();
    let app = Router::new()
        .route("/rebuilds", post(rebuilds))
        .layer((Extension(runs.clone()), engine.extension()));
    let not_stored = "idempotency_response_not_stored";
    for (name, told, times) in [
        ("none", not_stored, 1),
        ("moved", not_stored, 1),
        ("unwritable", not_stored, 1),
        ("panics", not_stored, 1),
        ("long", not_stored, 1),
        ("tombstone", not_stored, 1),
        ("longest", &format!("\"{}\"", "v".repeat(98)), 1),
        ("stored", "stored", 1),
        ("refused", "no room", 1),
        ("refused-with-value", "7", 1),
    ] {
        let got = retried(&app, &runs, "/rebuilds", name).await;
        assert_eq!(got, (told.to_owned(), times), "{name}");
    }
    for name in ["released", "failed"] {
        send(&app, "POST", "/rebuilds", name, name).await;
        let before = runs.load(Ordering::SeqCst);
        send(&app, "POST", "/rebuilds", name, name).await;
        assert_eq!(runs.load(Ordering::SeqCst) - before, 1, "{name}");
    }
    for outcome in outcomes(&engine).await {
        let text = String::from_utf8_lossy(&outcome);
        assert!(!text.contains(SECRET), "{text}");
    }
    let log = log.text();
    for mistake in ["too long", "cannot be serialized", "has no ReplayWith"] {
        assert!(log.contains(mistake), "{mistake}: {log}");
    }
    assert!(!log.contains(SECRET));
}

// proves: rebuilt-response-not-stored
#[tokio::test]
async fn a_value_that_no_function_replays_keeps_its_response_from_being_stored() {
    let (log, _logging) = Log::start();
    let runs = Runs::default();
    let engine = Idempotency::new(MemoryStore::new());
    let inner = async |Extension(runs): Extension<Runs>, name: String| respond(&runs, &name);
    let app = Router::new()
        .route("/stores", post(stores))
        .layer(engine.extension())
        .route(
            "/layer",
            post(inner).layer(IdempotencyLayer::new(engine.clone())),
        )
        .layer(Extension(runs.clone()));
    for path in ["/stores", "/layer"] {
        let name = if path == "/layer" { "longest" } else { "long" };
        let got = retried(&app, &runs, path, name).await;
        assert_eq!(got, ("idempotency_response_not_stored".into(), 1), "{path}");
    }
    for outcome in outcomes(&engine).await {
        assert_ne!(outcome[..2], VALUE);
        assert!(!String::from_utf8_lossy(&outcome).contains(SECRET));
    }
    assert!(log.text().contains("no replay function"), "{}", log.text());
}

// proves: rebuilt-response-not-stored
#[tokio::test]
async fn a_handler_that_takes_a_value_is_told_that_there_is_none() {
    let app = protected(Router::new().route("/", post(misplaced)));
    let refused = send(&app, "POST", "/", "k", "").await;
    assert_eq!(refused.json()["code"], "idempotency_misconfigured");
}
