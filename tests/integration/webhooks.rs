//! Deliveries of webhooks, as their senders make and repeat them.

use axum::{
    Router,
    extract::{Query, Request, State},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::post,
};
use http::StatusCode;
use idempotency::{Idempotency, IdempotencyLayer, Scope, idempotent, webhooks};
use reqwest::{Method, RequestBuilder};
use serde::Deserialize;
use tests::reply::Reply;

use crate::{app::Probe, expiry::assert_kept_for, test_server::TestServer};

pub(crate) fn routes(idempotency: &Idempotency) -> Router<Probe> {
    let layer = IdempotencyLayer::new(idempotency.clone()).with_options(webhooks::STRIPE);
    let layered = Router::new()
        .route("/stripe", post(take_unprotected))
        .layer(layer);
    let accounts = Router::new()
        .route("/standard", post(take_standard))
        .layer(from_fn(verify_account));
    Router::new()
        .route("/webhooks/standard", post(take_standard))
        .route("/webhooks/standard/other", post(take_standard))
        .route("/webhooks/github", post(take_github))
        .route("/webhooks/stripe", post(take_stripe))
        .route("/webhooks/brief", post(take_briefly))
        .route("/webhooks/stop", post(stop_midway))
        .nest("/webhooks/layered", layered)
        .nest("/webhooks/accounts", accounts)
}

#[derive(Deserialize)]
struct Wanted {
    status: Option<u16>,
}

#[idempotent(options = webhooks::STANDARD)]
async fn take_standard(State(probe): State<Probe>, Query(wanted): Query<Wanted>) -> Response {
    take(&probe, &wanted)
}

#[idempotent(options = webhooks::GITHUB)]
async fn take_github(State(probe): State<Probe>, Query(wanted): Query<Wanted>) -> Response {
    take(&probe, &wanted)
}

#[idempotent(options = webhooks::STRIPE)]
async fn take_stripe(State(probe): State<Probe>, Query(wanted): Query<Wanted>) -> Response {
    take(&probe, &wanted)
}

#[idempotent(options = webhooks::STRIPE, ttl_seconds = 60)]
async fn take_briefly(State(probe): State<Probe>, Query(wanted): Query<Wanted>) -> Response {
    take(&probe, &wanted)
}

#[idempotent(options = webhooks::STRIPE)]
async fn stop_midway(State(probe): State<Probe>) -> StatusCode {
    let run = probe.count();
    probe.stop(run).await;
    StatusCode::NO_CONTENT
}

async fn take_unprotected(State(probe): State<Probe>, Query(wanted): Query<Wanted>) -> Response {
    take(&probe, &wanted)
}

fn take(probe: &Probe, wanted: &Wanted) -> Response {
    let status = StatusCode::from_u16(wanted.status.unwrap_or(202)).expect("a status");
    (status, probe.count().to_string()).into_response()
}

/// Verifies a delivery by the secret of an account, which is then its owner.
async fn verify_account(mut request: Request, next: Next) -> Response {
    let account = request.headers().get("x-account").cloned();
    let account = account.expect("an account");
    let scope = Scope::principal(account.to_str().expect("a text"));
    request.extensions_mut().insert(scope);
    next.run(request).await
}

fn deliver(server: &TestServer, path: &str, body: &str) -> RequestBuilder {
    server
        .request(Method::POST, path)
        .header("content-type", "application/json; charset=utf-8")
        .body(body.to_owned())
}

/// One attempt of a delivery by Standard Webhooks; each has its own time and signature.
fn standard(server: &TestServer, path: &str, id: &str, attempt: u32) -> RequestBuilder {
    let body = r#"{"type":"payment.made","timestamp":"2026-11-03T20:26:10Z","data":{"amount":5}}"#;
    deliver(server, path, body)
        .header("webhook-id", id)
        .header("webhook-timestamp", (1_674_087_231 + attempt).to_string())
        .header("webhook-signature", format!("v1,{attempt} v1a,{attempt}"))
}

fn github(server: &TestServer, delivery: &str, hook: &str, body: &str) -> RequestBuilder {
    deliver(server, "/webhooks/github", body)
        .header("x-github-event", "push")
        .header("x-github-delivery", delivery)
        .header("x-github-hook-id", hook)
        .header("x-hub-signature-256", format!("sha256={}", body.len()))
        .header("user-agent", "GitHub-Hookshot/044aadd")
}

fn stripe(server: &TestServer, path: &str, id: &str, pending: u32, amount: u32) -> RequestBuilder {
    let event = format!(
        r#"{{"id":"{id}","object":"event","data":{{"object":{{"amount":{amount}}}}},"pending_webhooks":{pending}}}"#
    );
    deliver(server, path, &event).header("stripe-signature", format!("t={pending},v1={pending}"))
}

const GUID: &str = "72d3162e-cc78-11e3-81ab-4c9367dc0958";

// proves: webhook-delivery-runs-once
#[tokio::test]
async fn each_delivery_runs_once_however_often_it_is_sent() {
    let server = TestServer::new().await;
    for attempt in 1..=3 {
        for (request, run) in [
            (
                standard(&server, "/webhooks/standard", "msg_1", attempt),
                "1",
            ),
            (github(&server, GUID, "11", "{}"), "2"),
            (
                stripe(&server, "/webhooks/stripe", "evt_1", attempt, 5),
                "3",
            ),
            (
                stripe(&server, "/webhooks/layered/stripe", "evt_1", attempt, 5),
                "4",
            ),
        ] {
            let response = Reply::to(request).await;
            assert_eq!(response.status(), "202 Accepted", "{response:?}");
            assert_eq!((response.text(), response.is_replay()), (run, attempt > 1));
        }
    }
    // Another id is another delivery.
    for request in [
        standard(&server, "/webhooks/standard", "msg_2", 1),
        github(&server, "another", "11", "{}"),
        stripe(&server, "/webhooks/stripe", "evt_2", 1, 5),
    ] {
        Reply::to(request).await.assert_fresh(202);
    }
    assert_eq!(server.probe.runs(), 7);
}

// proves: webhook-delivery-runs-once
#[tokio::test]
async fn another_event_under_the_id_of_a_delivery_is_refused() {
    let server = TestServer::new().await;
    let first = stripe(&server, "/webhooks/stripe", "evt_1", 1, 5);
    Reply::to(first).await.assert_fresh(202);
    let other = Reply::to(stripe(&server, "/webhooks/stripe", "evt_1", 1, 6)).await;
    other.assert_problem("idempotency_key_reused");
}

// proves: webhook-without-id-refused
#[tokio::test]
async fn a_delivery_without_an_id_is_refused_and_the_sender_is_told_which_id() {
    let server = TestServer::new().await;
    for (path, place) in [
        ("/webhooks/standard", "the header field webhook-id"),
        ("/webhooks/github", "the header field x-github-delivery"),
        ("/webhooks/stripe", "the member id of the JSON body"),
    ] {
        let request = deliver(&server, path, "{}").header("idempotency-key", "k");
        let response = Reply::to(request).await;
        response.assert_problem("idempotency_key_missing");
        assert!(response.text().contains(place), "{response:?}");
    }
    assert_eq!(server.probe.runs(), 0);
}

// proves: webhook-failure-not-stored
#[tokio::test]
async fn a_delivery_that_failed_runs_again() {
    let server = TestServer::new().await;
    for (run, status) in ["400", "404", "422", "302", "500", "202"]
        .iter()
        .enumerate()
    {
        // The body of a delivery does not change, nor does its path.
        let path = "/webhooks/standard?status=202";
        let path = path.replace("202", status);
        let response = Reply::to(standard(&server, &path, "msg_1", 1)).await;
        assert_eq!(response.status.as_str(), *status);
        assert!(!response.is_replay(), "{response:?}");
        assert_eq!(response.text(), (run + 1).to_string());
    }
    assert_eq!(server.records().await, 1);
}

// proves: webhook-ids-have-scopes
#[tokio::test]
async fn an_id_belongs_to_its_endpoint_and_no_other_client_can_use_it_up() {
    let server = TestServer::new().await;
    // A client that guesses an id, in its own requests.
    Reply::to(server.booking("msg_1")).await.assert_fresh(201);
    for path in ["/webhooks/standard", "/webhooks/standard/other"] {
        let response = Reply::to(standard(&server, path, "msg_1", 1)).await;
        response.assert_fresh(202);
    }
    // Credentials do not make another sender, not even those that change on each attempt.
    let signed = standard(&server, "/webhooks/standard", "msg_1", 2)
        .header("authorization", "Signature keyId=\"a\",signature=\"b\"")
        .header("signature-input", "sig1=()")
        .header("x-api-key", "one")
        .header("cookie", "a=b");
    assert!(Reply::to(signed).await.is_replay());
    // A layer that has verified the sender knows better.
    for account in ["ann", "bob"] {
        let request = || {
            standard(&server, "/webhooks/accounts/standard", "msg_1", 1)
                .header("x-account", account)
        };
        let first = Reply::to(request()).await;
        first.assert_fresh(202);
        Reply::to(request()).await.assert_replays(&first);
    }
}

// proves: webhook-ids-have-scopes
#[tokio::test]
async fn two_hooks_of_github_that_get_one_event_both_run() {
    let server = TestServer::new().await;
    for (hook, body) in [("11", "{}"), ("12", r#"{"organization":{}}"#)] {
        let first = Reply::to(github(&server, GUID, hook, body)).await;
        first.assert_fresh(202);
        Reply::to(github(&server, GUID, hook, body))
            .await
            .assert_replays(&first);
    }
}

// proves: webhook-delivery-runs-once
#[tokio::test]
async fn a_delivery_that_is_still_running_is_refused_until_it_has_ended() {
    let server = TestServer::new().await;
    let event = || {
        let event = r#"{"id":"evt_1"}"#;
        deliver(&server, "/webhooks/stop", event)
    };
    let running = server.send(event());
    server.probe.started().await;
    let duplicate = Reply::to(event()).await;
    duplicate.assert_problem("idempotency_in_progress");
    server.probe.proceed();
    let first = running.await.expect("a response");
    Reply::to(event()).await.assert_replays(&first);
}

// proves: attribute-adds-to-constant
#[tokio::test]
async fn the_attributes_options_are_added_to_those_of_the_constant() {
    const MONTH: u64 = 30 * 24 * 60 * 60;
    let server = TestServer::new().await;
    for (path, seconds) in [("/webhooks/stripe", MONTH), ("/webhooks/brief", 60)] {
        let before = server.time.now();
        let response = Reply::to(stripe(&server, path, "evt_1", 1, 5)).await;
        response.assert_fresh(202);
        assert_kept_for(&response, seconds, before, server.time.now());
    }
}

/// Stripe sends an event to an endpoint for each version, which may differ in their query only.
// proves: webhook-delivery-runs-once
#[tokio::test]
async fn endpoints_that_differ_in_their_query_both_get_an_event() {
    let server = TestServer::new().await;
    for (attempt, path) in [(1, "/webhooks/stripe"), (1, "/webhooks/stripe?version=2")] {
        let delivery = || stripe(&server, path, "evt_1", attempt, 5);
        let first = Reply::to(delivery()).await;
        first.assert_fresh(202);
        Reply::to(delivery()).await.assert_replays(&first);
    }
    assert_eq!(server.probe.runs(), 2);
}
