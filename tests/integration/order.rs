//! Layers inside and outside of the protection.

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Extension, Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Request, State},
    response::IntoResponse,
    routing::{MethodRouter, post},
};
use http::{StatusCode, header};
use idempotency::{
    Execution, Idempotency, IdempotencyLayer, MemoryStore, OnLost, Options, StepError, idempotent,
    options::Keep,
};
use reqwest::Method;
use tests::reply::Reply;
use tower::{Layer, ServiceExt};
use tower_http::{compression::CompressionLayer, cors::CorsLayer, timeout::TimeoutLayer};

use crate::{
    app::Probe,
    script,
    test_server::{BOOKING, TestServer},
    transport::Marker,
};

const MB: usize = 1024 * 1024;

pub(crate) fn routes(idempotency: &Idempotency) -> Router<Probe> {
    let layer = IdempotencyLayer::new(idempotency.clone());
    let refusing = Options::new().on_lost(OnLost::Refuse);
    let refused = Router::new()
        .route("/cut/refuse", cut(StatusCode::GATEWAY_TIMEOUT))
        .layer(layer.clone().with_options(refusing));
    let left_out = Router::new()
        .route("/left-out", post(count))
        .route("/own", post(count_once));
    let large = post(measure).layer(DefaultBodyLimit::max(4 * MB));
    let protected = Router::new()
        .route("/cut/408", cut(StatusCode::REQUEST_TIMEOUT))
        .route("/cut/503", cut(StatusCode::SERVICE_UNAVAILABLE))
        .route("/cut/504", cut(StatusCode::GATEWAY_TIMEOUT))
        .route(
            "/cut/step",
            post(charge).layer(limit(StatusCode::GATEWAY_TIMEOUT)),
        )
        .route(
            "/compressed",
            post(script::unprotected).layer(CompressionLayer::new()),
        )
        .route("/large", large)
        .route("/small", post(measure))
        .layer(layer.with_body_limit(4 * MB));
    let routes = protected.merge(refused).merge(left_out);
    Router::new().nest("/order", routes)
}

/// Shorter than any wait of a test.
fn limit(status: StatusCode) -> TimeoutLayer {
    TimeoutLayer::with_status_code(status, Duration::from_millis(100))
}

fn cut(status: StatusCode) -> MethodRouter<Probe> {
    post(hang_once).layer(limit(status))
}

async fn hang_once(State(probe): State<Probe>, execution: Execution) -> String {
    let run = probe.count();
    if execution.attempt() == 1 {
        probe.stop(run).await;
    }
    format!("attempt {}", execution.attempt())
}

async fn charge(
    State(probe): State<Probe>,
    execution: Execution,
) -> Result<String, StepError<StatusCode>> {
    let step = async move {
        let run = probe.count();
        probe.stop(run).await;
        Ok(run)
    };
    let receipt = execution.step("charge", step).await?;
    Ok(format!(
        "attempt {}, receipt {receipt}",
        execution.attempt()
    ))
}

async fn count(State(probe): State<Probe>) -> String {
    probe.count().to_string()
}

#[idempotent(ttl_seconds = 60)]
async fn count_once(State(probe): State<Probe>) -> String {
    probe.count().to_string()
}

async fn measure(State(probe): State<Probe>, body: Bytes) -> String {
    format!("{} {}", probe.count(), body.len())
}

async fn send(server: &TestServer, path: &str) -> Reply {
    Reply::to(server.post(path, "k", BOOKING)).await
}

/// How far the run came is as unknown as if its process had died.
// proves: failures-free-key, dead-owner-taken-over
#[tokio::test]
async fn a_run_that_a_time_limit_inside_has_stopped_keeps_its_key_until_its_lease_is_over() {
    let server = TestServer::new().await;
    for (path, status) in [
        ("/order/cut/408", 408),
        ("/order/cut/503", 503),
        ("/order/cut/504", 504),
    ] {
        server.probe.forget_runs();
        let request = || server.post(path, path, BOOKING);
        Reply::to(request()).await.assert_fresh(status);
        Reply::to(request())
            .await
            .assert_problem("idempotency_in_progress");
        assert_eq!(server.probe.runs(), 1);
        server.pass(31);
        let second = Reply::to(request()).await;
        second.assert_fresh(200);
        assert_eq!(second.text(), "attempt 2");
        Reply::to(request()).await.assert_replays(&second);
    }
}

// proves: dead-owner-taken-over
#[tokio::test]
async fn a_run_that_a_time_limit_inside_has_stopped_is_a_lost_one() {
    let server = TestServer::new().await;
    let path = "/order/cut/refuse";
    send(&server, path).await.assert_fresh(504);
    server.pass(31);
    send(&server, path)
        .await
        .assert_problem("idempotency_outcome_unknown");
    assert_eq!(server.probe.runs(), 1);
}

/// The step continues under the hold that it began with.
// proves: dead-owner-taken-over
#[tokio::test]
async fn a_step_outlives_the_time_limit_inside_and_the_next_attempt_has_its_result() {
    let server = TestServer::new().await;
    let path = "/order/cut/step";
    send(&server, path).await.assert_fresh(504);
    server.probe.proceed();
    server.faults.checkpoint.called(1).await;
    // The step has ended, but the run has not.
    send(&server, path)
        .await
        .assert_problem("idempotency_in_progress");
    server.pass(31);
    let second = send(&server, path).await;
    second.assert_fresh(200);
    assert_eq!(second.text(), "attempt 2, receipt 1");
    assert_eq!(server.probe.runs(), 1);
}

// proves: failures-free-key, failure-stored-on-request
#[tokio::test]
async fn a_service_inside_says_of_its_503_that_nothing_was_done() {
    let server = TestServer::new().await;
    for (key, script) in [
        ("released", r#"{"status":503,"outcome":"release"}"#),
        ("busy", r#"{"status":503,"headers":[["retry-after","1"]]}"#),
        ("failed", r#"{"status":500}"#),
    ] {
        server.probe.forget_runs();
        for run in 1..=2 {
            let reply = Reply::to(server.post("/layered/script", key, script)).await;
            assert!(reply.status().starts_with("50"), "{reply:?}");
            assert_eq!((server.probe.runs(), server.records().await), (run, 0));
        }
    }
}

// proves: outer-compression-not-stored
#[tokio::test]
async fn compression_inside_does_not_touch_what_is_stored() {
    let server = TestServer::new().await;
    let text = r#"{"padding":5000,"headers":[["content-type","text/plain"]]}"#;
    let unprotected = server
        .request(Method::POST, "/order/compressed")
        .header("content-type", "application/json")
        .header("accept-encoding", "gzip")
        .body(text);
    let packed = Reply::to(unprotected).await;
    assert_eq!(packed.header("content-encoding"), Some("gzip"));

    let request = || server.post("/order/compressed", "k", text);
    let first = Reply::to(request().header("accept-encoding", "gzip, br")).await;
    first.assert_fresh(200);
    assert_eq!(first.header("content-encoding"), None);
    assert_eq!(first.body.len(), 5000);
    for retry in [request(), request().header("accept-encoding", "gzip")] {
        let again = Reply::to(retry).await;
        again.assert_replays(&first);
        assert_eq!(again.header("content-encoding"), None);
    }
}

// proves: outer-compression-not-stored
#[tokio::test]
async fn a_handler_that_compresses_by_itself_is_asked_for_plain_bytes() {
    let server = TestServer::wrapped(|app| app.layer(Extension(Marker("outside")))).await;
    let packed = |request: reqwest::RequestBuilder| request.header("accept-encoding", "gzip");
    let reply = Reply::to(packed(server.post("/echo", "k", BOOKING))).await;
    assert_eq!(reply.header("x-seen-accept-encoding"), Some("identity"));
    let unprotected = server.request(Method::POST, "/echo").body(BOOKING);
    let reply = Reply::to(packed(unprotected)).await;
    assert_eq!(reply.header("x-seen-accept-encoding"), Some("gzip"));
}

#[tokio::test]
async fn cors_outside_marks_first_responses_replays_and_refusals() {
    let cors = CorsLayer::new().allow_origin(["https://shop.example".parse().expect("an origin")]);
    let server = TestServer::wrapped(|app| app.layer(cors)).await;
    let request = |body| {
        server
            .post("/bookings", "k", body)
            .header("origin", "https://shop.example")
    };
    let first = Reply::to(request(BOOKING)).await;
    let again = Reply::to(request(BOOKING)).await;
    again.assert_replays(&first);
    let refused = Reply::to(request("{}")).await;
    assert_eq!(refused.status(), "422 Unprocessable Entity");
    for reply in [first, again, refused] {
        assert_eq!(
            reply.header("access-control-allow-origin"),
            Some("https://shop.example")
        );
    }
}

// proves: exchange-fields-not-replayed
#[tokio::test]
async fn cors_inside_is_reported_because_replays_lack_its_fields() {
    let logged = Logged::default();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer({
            let logged = logged.clone();
            move || logged.clone()
        })
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let app: Router = Router::new()
        .route("/", post(async || "booked"))
        .layer(CorsLayer::permissive())
        .layer(IdempotencyLayer::new(Idempotency::new(MemoryStore::new())));
    for is_allowed in [true, false, false] {
        let request = Request::post("/").header("idempotency-key", "k");
        let request = request.body(Body::empty()).expect("a request");
        let response = app.clone().oneshot(request).await.into_response();
        let field = header::ACCESS_CONTROL_ALLOW_ORIGIN;
        assert_eq!(response.headers().contains_key(field), is_allowed);
    }
    let logged = logged.0.lock().expect("a lock").clone();
    let logged = String::from_utf8(logged).expect("a text");
    let warning = "put the CORS layer outside of the protection";
    assert_eq!(logged.matches(warning).count(), 1, "{logged}");
}

#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("a lock").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// proves: post-and-patch-protected, unprotected-endpoint-ignores-key
#[tokio::test]
async fn a_route_that_is_merged_after_the_layer_is_outside_it() {
    let server = TestServer::new().await;
    for run in ["1", "2"] {
        let reply = send(&server, "/order/left-out").await;
        reply.assert_fresh(200);
        assert_eq!(reply.text(), run);
    }
    // So it can have options of its own.
    let first = send(&server, "/order/own").await;
    first.assert_fresh(200);
    send(&server, "/order/own").await.assert_replays(&first);
}

#[tokio::test]
async fn a_layer_reads_what_its_largest_route_takes_and_the_others_keep_their_limits() {
    let server = TestServer::new().await;
    let send = |path: &'static str, key: Option<&'static str>, length| {
        let mut request = server.request(Method::POST, path).body(vec![b'.'; length]);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        Reply::to(request)
    };
    let without = send("/order/large", None, 3 * MB).await;
    assert_eq!(without.text(), "1 3145728");
    let first = send("/order/large", Some("k"), 3 * MB).await;
    assert_eq!(first.text(), "2 3145728");
    send("/order/large", Some("k"), 3 * MB)
        .await
        .assert_replays(&first);
    for key in [None, Some("small")] {
        let refused = send("/order/small", key, 3 * MB).await;
        refused.assert_fresh(413);
        assert_ne!(
            refused.header("content-type"),
            Some("application/problem+json")
        );
    }
    let refused = send("/order/large", Some("larger"), 4 * MB + 1).await;
    refused.assert_problem("content_too_large");
    assert_eq!((server.probe.runs(), server.records().await), (2, 1));
}

// proves: finite-stream-stored-whole
#[tokio::test]
async fn grpc_under_a_key_is_refused_because_a_replay_would_lose_its_status() {
    let server = TestServer::new().await;
    let request = |media_type: &str| {
        server
            .request(Method::POST, "/layered/bookings")
            .header("content-type", media_type.to_owned())
    };
    for media_type in [
        "application/grpc",
        "Application/gRPC+proto",
        "application/grpc-web-text; charset=utf-8",
    ] {
        let refused = Reply::to(request(media_type).header("idempotency-key", "k")).await;
        refused.assert_problem("idempotency_misconfigured");
    }
    assert_eq!((server.probe.runs(), server.records().await), (0, 0));
    // Without a key the request is not changed.
    let reply = Reply::to(request("application/grpc")).await;
    reply.assert_fresh(201);
}

/// A response whose making panics, in a service that has taken effect.
struct Unmade;

impl IntoResponse for Unmade {
    fn into_response(self) -> axum::response::Response {
        panic!("the response cannot be made");
    }
}

// proves: failure-stored-on-request
#[tokio::test]
async fn a_service_whose_response_cannot_be_made_does_not_run_again() {
    let idempotency = Idempotency::new(MemoryStore::new());
    let layer = IdempotencyLayer::new(idempotency).with_options(Options::new().keep(Keep::All));
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let service = tower::service_fn(move |_: Request| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Ok::<_, Infallible>(Unmade) }
    });
    let service = layer.layer(service);
    for is_replay in [false, true] {
        let request = Request::post("/").header("Idempotency-Key", "\"k\"");
        let request = request.body(Body::empty()).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let replayed = response.headers().contains_key("Idempotent-Replayed");
        assert_eq!(replayed, is_replay);
    }
    assert_eq!(runs.load(Ordering::Relaxed), 1);
}
