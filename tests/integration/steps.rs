//! Steps of a run, whose results are handed to the next attempt.

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::Bytes;
use http::StatusCode;
use idempotency::{Execution, StepError, idempotent, store::IfOwner};
use rstest_reuse::apply;
use serde_json::json;
use tests::reply::Reply;

use crate::{
    app::Probe,
    backend::{Backend, each_store, installed},
    test_server::TestServer,
};

pub(crate) fn routes() -> Router<Probe> {
    Router::new()
        .route("/steps", post(charge_and_mail))
        .route("/steps/refuse", post(charge_and_mail_or_refuse))
        .route("/steps/transactional", post(step_without_a_hold))
}

#[idempotent(ttl_seconds = 3600)]
async fn charge_and_mail(
    State(probe): State<Probe>,
    execution: Execution,
    Json(then): Json<String>,
) -> Result<Response, StepError<StatusCode>> {
    carry_out(probe, execution, &then).await
}

#[idempotent(ttl_seconds = 3600, on_lost = "refuse")]
async fn charge_and_mail_or_refuse(
    State(probe): State<Probe>,
    execution: Execution,
    Json(then): Json<String>,
) -> Result<Response, StepError<StatusCode>> {
    carry_out(probe, execution, &then).await
}

#[idempotent(ttl_seconds = 3600, transactional)]
async fn step_without_a_hold(
    State(probe): State<Probe>,
    execution: Execution,
) -> Result<String, StepError<StatusCode>> {
    execution.step("charge", probe.charge()).await
}

/// Two steps, which the probe counts. Between them the first attempt does what the body says; with `always`, each attempt does.
async fn carry_out(
    probe: Probe,
    execution: Execution,
    then: &str,
) -> Result<Response, StepError<StatusCode>> {
    let (asked, counted) = (then.to_owned(), probe.clone());
    let charge = async move {
        match asked.as_str() {
            "decline" => Err(StatusCode::PAYMENT_REQUIRED),
            "break" => Err(StatusCode::BAD_GATEWAY),
            _ => Ok(format!("receipt {}", counted.count())),
        }
    };
    let receipt = execution.step("charge", charge).await?;
    match (then, execution.attempt()) {
        ("stop", 1) | ("always stop", _) => probe.stop(1).await,
        ("fail", 1) => return Ok(StatusCode::SERVICE_UNAVAILABLE.into_response()),
        ("panic", 1) => panic!("between two steps"),
        _ => {}
    }
    let mail = async move { Ok(format!("mail {}", probe.count())) };
    let mail = execution.step("mail", mail).await?;
    let done = json!({
        "attempt": execution.attempt(),
        "receipt": receipt,
        "mail": mail,
        "keys": [execution.child_key("charge"), execution.child_key("mail")],
    });
    Ok((StatusCode::CREATED, Json(done)).into_response())
}

async fn send(server: &TestServer, path: &str, key: &str, then: &str) -> Reply {
    let json = json!(then).to_string();
    Reply::to(server.post(path, key, &json)).await
}

/// The first attempt stops and its lease expires. The second one continues, and the first can store nothing any more.
// proves: lost-lease-stores-nothing, downstream-key-derived, stale-owner-writes
#[apply(each_store)]
#[tokio::test]
async fn an_attempt_after_a_lost_one_goes_on_with_its_steps(backend: Backend) {
    let server = installed!(TestServer::on(backend).await);
    let lost = server.send(server.post("/steps", "k", "\"stop\""));
    server.probe.started().await;
    server.pass(31);

    let second = send(&server, "/steps", "k", "stop").await;
    second.assert_fresh(201);
    let done = second.json();
    assert_eq!(done["attempt"], 2);
    assert_eq!(done["receipt"], "receipt 1");
    assert_eq!(done["mail"], "mail 2");

    server.probe.proceed();
    let lost = lost.await.expect("a response");
    assert!(lost.is_replay(), "{lost:?}");
    assert_eq!(lost.body, second.body);
    assert!(send(&server, "/steps", "k", "stop").await.is_replay());
}

/// A charge is not repeated because the handler failed after it. So the key is not free for another request
/// either.
// proves: failure-stored-on-request, mismatch-takes-over, failure-after-effect-reruns
#[tokio::test]
async fn a_run_that_fails_leaves_its_steps_to_the_retry() {
    let server = TestServer::new().await;
    for then in ["fail", "panic"] {
        server.probe.forget_runs();
        let failed = send(&server, "/steps", then, then).await;
        assert!(failed.status().starts_with('5'), "{failed:?}");
        let other = send(&server, "/steps", then, "something else").await;
        other.assert_problem("idempotency_key_reused");

        let second = send(&server, "/steps", then, then).await;
        second.assert_fresh(201);
        let done = second.json();
        assert_eq!(done["attempt"], 2);
        assert_eq!(done["receipt"], "receipt 1");
        assert_eq!(done["mail"], "mail 2");
    }
}

/// No step was done, so the key is free.
// proves: failures-free-key
#[tokio::test]
async fn a_step_that_fails_is_not_kept() {
    let server = TestServer::new().await;
    let broken = send(&server, "/steps", "k", "break").await;
    assert_eq!(broken.status(), "502 Bad Gateway");
    assert_eq!(server.records().await, 0);
    let other = send(&server, "/steps", "k", "go on").await;
    other.assert_fresh(201);
    assert_eq!(other.json()["attempt"], 1);
    // A final response is stored as usual.
    for _ in 0..2 {
        let declined = send(&server, "/steps", "k2", "decline").await;
        assert_eq!(declined.status(), "402 Payment Required");
    }
    assert_eq!(server.probe.runs(), 2);
}

/// A run that ended with a failure is not lost: it has suspended its key.
// proves: dead-owner-taken-over, interrupted-run-stuck
#[tokio::test]
async fn a_suspended_run_is_not_an_unknown_outcome() {
    let server = TestServer::new().await;
    let path = "/steps/refuse";
    let failed = send(&server, path, "k", "fail").await;
    assert_eq!(failed.status(), "503 Service Unavailable");
    let second = send(&server, path, "k", "fail").await;
    second.assert_fresh(201);
    assert_eq!(second.json()["receipt"], "receipt 1");

    // A run that never ends is lost, even if the run before it suspended the key.
    let lost = server.send(server.post(path, "k2", "\"stop\""));
    server.probe.started().await;
    server.pass(31);
    let refused = send(&server, path, "k2", "stop").await;
    refused.assert_problem("idempotency_outcome_unknown");
    server.probe.proceed();
    assert_eq!(lost.await.expect("a response").status(), "201 Created");
}

// proves: downstream-key-derived
#[tokio::test]
async fn keys_for_other_services_are_the_same_on_every_attempt() {
    let server = TestServer::new().await;
    let mut seen = std::collections::BTreeSet::new();
    for key in ["k", "K"] {
        send(&server, "/steps", key, "fail").await;
        let reply = send(&server, "/steps", key, "fail").await;
        for child in reply.json()["keys"].as_array().expect("keys") {
            let child = child.as_str().expect("a key");
            let uuid = uuid::Uuid::parse_str(child).expect("a UUID");
            assert_eq!(uuid.get_version_num(), 8);
            assert!(!child.contains(key) || key.len() == 1);
            assert!(seen.insert(child.to_owned()), "{child} is there twice");
        }
    }
    // Another engine with the same names derives the same child keys; a different request under the same key does not.
    let elsewhere = TestServer::new().await;
    for (then, is_same) in [("fail", true), ("go on", false), ("fail", true)] {
        if then == "fail" {
            send(&elsewhere, "/steps", "k", then).await;
        }
        let reply = send(&elsewhere, "/steps", "k", then).await;
        for child in reply.json()["keys"].as_array().expect("keys") {
            let child = child.as_str().expect("a key");
            assert_eq!(seen.contains(child), is_same, "{child}");
        }
        elsewhere.pass(3661);
    }
}

/// Repeating a step that may have been done is worse than not running.
// proves: other-version-is-error, damaged-record-frees-key
#[tokio::test]
async fn steps_that_cannot_be_read_are_an_error() {
    let server = TestServer::new().await;
    let lost = server.send(server.post("/steps", "k", "\"stop\""));
    server.probe.started().await;
    let (hold, _) = server.only_record().await;
    let store = server.idempotency.store();
    let damage = store.checkpoint(&hold, Bytes::from_static(&[7; 100]));
    assert_eq!(damage.await.ok(), Some(IfOwner::Done(())));
    server.pass(31);
    let refused = send(&server, "/steps", "k", "stop").await;
    refused.assert_problem("idempotency_store_unavailable");
    assert_eq!(server.probe.runs(), 1);
    server.probe.proceed();
    drop(lost.await);
}

#[tokio::test]
async fn a_transactional_handler_has_no_steps() {
    let server = TestServer::new().await;
    let refused = send(&server, "/steps/transactional", "k", "go on").await;
    refused.assert_problem("idempotency_misconfigured");
    assert_eq!(server.probe.runs(), 0);
}
