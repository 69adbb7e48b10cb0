//! Requests over HTTP.

use std::sync::Arc;

use axum::{
    Extension, Router,
    body::Body,
    http::{HeaderName, HeaderValue, Request, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use idempotency::{
    Disposition, Execution, HttpConfig, Idempotency, IdempotencyLayer, MemoryStore, Options,
    ReplayWith, StepError, http::Observation, idempotent, operators::KeyChange, store::ListRequest,
};
use tokio::sync::{Semaphore, mpsc};
use tower::ServiceExt;

use crate::Recorded;

#[idempotent(ttl_seconds = 60, required)]
async fn book() -> StatusCode {
    StatusCode::CREATED
}

#[idempotent(ttl_seconds = 60)]
async fn fail() -> StatusCode {
    StatusCode::SERVICE_UNAVAILABLE
}

#[idempotent(ttl_seconds = 60)]
async fn cut_off() -> (Extension<Disposition>, &'static str) {
    (Extension(Disposition::Tombstone), "only once")
}

#[idempotent(ttl_seconds = 60)]
async fn crash() -> StatusCode {
    panic!("as it is meant to")
}

#[idempotent(ttl_seconds = 60)]
async fn after_a_step(execution: Execution) -> Result<StatusCode, StepError<StatusCode>> {
    execution.step("charge", async { Ok(()) }).await?;
    Ok(StatusCode::SERVICE_UNAVAILABLE)
}

#[idempotent(ttl_seconds = 60, replay = gone)]
async fn mint(body: String) -> (ReplayWith<String>, &'static str) {
    (ReplayWith(body), "only once")
}

async fn gone(ReplayWith(body): ReplayWith<String>) -> (StatusCode, String) {
    match body.as_str() {
        "fail" => (StatusCode::BAD_GATEWAY, body),
        "panic" => panic!("as it is meant to"),
        _ => (StatusCode::OK, body),
    }
}

#[idempotent(ttl_seconds = 60)]
async fn mint_no_more() {}

fn app(idempotency: &Idempotency) -> Router {
    Router::new()
        .route("/book", post(book))
        .route("/fail", post(fail))
        .route("/tombstone", post(cut_off))
        .route("/mint", post(mint))
        .route("/crash", post(crash))
        .route("/step", post(after_a_step))
        .layer(idempotency.extension())
}

async fn send(app: &Router, path: &str, key: &[&str], body: &str) -> Response {
    let mut request = Request::post(path)
        .body(Body::from(body.to_owned()))
        .expect("a request");
    for key in key {
        let name = HeaderName::from_static("idempotency-key");
        let key = HeaderValue::from_str(key).expect("a field");
        request.headers_mut().append(name, key);
    }
    app.clone().oneshot(request).await.expect("a response")
}

// proves: outcomes-are-counted
#[tokio::test]
async fn each_request_is_counted_once_by_what_became_of_it() {
    let recorded = Recorded::new();
    let _recording = metrics::set_default_local_recorder(&*recorded.recorder);
    let idempotency = Idempotency::new(MemoryStore::new());
    let app = app(&idempotency);
    let large = "x".repeat(3_000_000);
    let cases: [(&str, &[&str], &str, u16, &str); 19] = [
        ("/book", &["a"], "", 201, "executed"),
        ("/book", &["a"], "", 201, "replayed"),
        ("/book", &["a"], "other", 422, "reused"),
        ("/book", &[], "", 400, "missing"),
        ("/book", &["b", "c"], "", 400, "malformed"),
        ("/book", &["d"], &large, 413, "rejected"),
        ("/fail", &["e"], "", 503, "released"),
        ("/fail", &["e"], "", 503, "released"),
        ("/fail", &[], "", 503, "unprotected"),
        ("/tombstone", &["f"], "", 200, "executed"),
        ("/tombstone", &["f"], "", 409, "tombstone"),
        ("/mint", &["i"], "", 200, "executed"),
        ("/mint", &["i"], "", 200, "replayed"),
        ("/mint", &["j"], "fail", 200, "executed"),
        ("/mint", &["j"], "fail", 502, "replay_failed"),
        ("/mint", &["k"], "panic", 200, "executed"),
        ("/mint", &["k"], "panic", 500, "panicked"),
        ("/crash", &["g"], "", 500, "released"),
        ("/step", &["h"], "", 503, "suspended"),
    ];
    for (path, key, body, status, outcome) in cases {
        let response = send(&app, path, key, body).await;
        assert_eq!(response.status(), status, "{path} {key:?}");
        recorded.assert_one(outcome);
    }
    // A later version of the service, whose handler has no function.
    let later = Router::new()
        .route("/mint", post(mint_no_more))
        .layer(idempotency.extension());
    assert_eq!(send(&later, "/mint", &["i"], "").await.status(), 503);
    recorded.assert_one("replay_failed");
}

// proves: outcomes-are-counted
#[tokio::test]
async fn a_request_whose_response_was_erased_or_whose_service_stops_is_counted_so() {
    let recorded = Recorded::new();
    let _recording = metrics::set_default_local_recorder(&*recorded.recorder);
    let idempotency = Idempotency::new(MemoryStore::new());
    let app = app(&idempotency);
    assert_eq!(send(&app, "/book", &["a"], "").await.status(), 201);
    recorded.assert_one("executed");
    let done = idempotency
        .store()
        .list(&ListRequest::new(1))
        .await
        .expect("a page");
    let erased = idempotency.erase(&done[0].id).await.expect("a response");
    assert_eq!(erased, KeyChange::Made);
    assert_eq!(send(&app, "/book", &["a"], "").await.status(), 410);
    recorded.assert_one("erased");
    idempotency.shutdown().await;
    assert_eq!(send(&app, "/book", &["b"], "").await.status(), 503);
    recorded.assert_one("shutting_down");
}

// proves: outcomes-are-counted
#[tokio::test]
async fn what_a_service_refuses_by_its_own_settings_is_counted_so() {
    let recorded = Recorded::new();
    let _recording = metrics::set_default_local_recorder(&*recorded.recorder);
    let http = HttpConfig::new()
        .without_keyless_early_data()
        .with_min_anonymous_key_length(16);
    let store = MemoryStore::new();
    let app = app(&Idempotency::builder(store).with_http(http).build());
    let early = Request::post("/fail").header("early-data", "1");
    let early = early.body(Body::empty()).expect("a request");
    let refused = app.clone().oneshot(early).await.expect("a response");
    assert_eq!(refused.status(), StatusCode::TOO_EARLY);
    recorded.assert_one("early_data");
    assert_eq!(send(&app, "/fail", &["short"], "").await.status(), 400);
    recorded.assert_one("malformed");
}

// proves: outcomes-are-counted
#[tokio::test]
async fn of_a_layer_only_what_it_would_protect_is_counted() {
    let recorded = Recorded::new();
    let _recording = metrics::set_default_local_recorder(&*recorded.recorder);
    let idempotency = Idempotency::new(MemoryStore::new());
    let layer = IdempotencyLayer::new(idempotency.clone());
    let twice = Router::new()
        .route("/twice", post(book))
        .layer(idempotency.extension());
    let app = Router::new()
        .route("/get", get(async || "read"))
        .route("/late", post(async || StatusCode::GATEWAY_TIMEOUT))
        .merge(twice)
        .layer(layer);
    let read = Request::get("/get").body(Body::empty()).expect("a request");
    assert_eq!(
        app.clone()
            .oneshot(read)
            .await
            .expect("a response")
            .status(),
        200
    );
    assert_eq!(recorded.outcomes(), []);
    assert_eq!(send(&app, "/late", &["a"], "").await.status(), 504);
    recorded.assert_one("effect_unknown");
    assert_eq!(send(&app, "/twice", &["b"], "").await.status(), 500);
    // The handler's own refusal, and what its layer makes of that.
    let counted = recorded.outcomes();
    let expected = [
        ("misconfigured".to_owned(), 1.0),
        ("released".to_owned(), 1.0),
    ];
    assert_eq!(counted, expected);
}

// proves: outcomes-are-counted
#[tokio::test]
async fn who_runs_and_who_waits_is_shown_and_a_run_without_its_client_is_counted_at_its_end() {
    let recorded = Recorded::new();
    let _recording = metrics::set_default_local_recorder(&*recorded.recorder);
    let idempotency = Idempotency::builder(MemoryStore::new())
        .with_max_running(1)
        .build();
    let (begun, mut has_begun) = mpsc::unbounded_channel();
    let gate = Arc::new(Semaphore::new(0));
    let handler = {
        let gate = Arc::clone(&gate);
        async move || {
            begun.send(()).expect("the test waits");
            gate.acquire().await.expect("an open gate").forget();
            "done"
        }
    };
    let layer = IdempotencyLayer::new(idempotency).with_options(Options::new());
    let app = Router::new().route("/", post(handler)).layer(layer);
    let seen = Observation::new();
    let request = |key: &str, prefer: &str, seen: &Observation| {
        let request = Request::post("/").header("idempotency-key", key);
        let request = request.header("prefer", prefer).extension(seen.clone());
        app.clone()
            .oneshot(request.body(Body::empty()).expect("a request"))
    };
    let leaves = tokio::spawn(request("a", "wait=0", &seen));
    has_begun.recv().await.expect("a run");
    let shown = recorded.next();
    assert_eq!(shown["idempotency_running"], 1.0, "{shown:?}");
    assert_eq!(shown.get("idempotency_waiting"), None, "{shown:?}");

    let others = Observation::new();
    let duplicate = request("a", "wait=0", &others).await.into_response();
    assert_eq!(duplicate.status(), 409);
    recorded.assert_one("in_progress");
    assert_eq!(
        request("b", "wait=0", &others)
            .await
            .into_response()
            .status(),
        503
    );
    recorded.assert_one("busy");

    let waits = tokio::spawn(request("a", "wait=60", &others));
    while !recorded.next().contains_key("idempotency_waiting") {
        tokio::task::yield_now().await;
    }
    leaves.abort();
    assert!(leaves.await.is_err());
    assert_eq!(recorded.outcomes(), []);
    assert_eq!(seen.outcome(), None);
    gate.add_permits(1);
    let replay = waits.await.expect("no panic").into_response();
    assert_eq!(replay.headers()["idempotent-replayed"], "true");
    let ended = recorded.next();
    assert_eq!(
        ended["idempotency_requests_total executed"], 1.0,
        "{ended:?}"
    );
    assert_eq!(
        ended["idempotency_requests_total replayed"], 1.0,
        "{ended:?}"
    );
    assert_eq!(
        ended["idempotency_handler_duration_seconds"], 1.0,
        "{ended:?}"
    );
    assert_eq!(
        ended["idempotency_running"], -1.0,
        "as the one before was read and reset"
    );
    assert_eq!(
        ended["idempotency_waiting"], -1.0,
        "as the one before was read and reset"
    );
    assert!(
        ended["idempotency_store_duration_seconds memory"] >= 2.0,
        "{ended:?}"
    );
    // The run and its replay have one record.
    assert_eq!(seen.outcome(), Some("executed"));
    assert_eq!(others.outcome(), Some("replayed"));
    assert_eq!(
        seen.record().map(|record| record.to_string().len()),
        Some(16)
    );
    assert_eq!(seen.record(), others.record());
}
