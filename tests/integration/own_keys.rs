//! Keys that come from another field, or from the body.

mod refusals;

use std::error::Error;

use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, State},
    response::Response,
    routing::post,
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, request::Parts};
use idempotency::{
    Idempotency, IdempotencyKey, IdempotencyLayer, Options, Scope, idempotent,
    key::{KeyRejection, KeyRequest},
};
use reqwest::RequestBuilder;
use tests::reply::Reply;

use crate::{app::Probe, test_server::TestServer};

type Found = Result<Option<IdempotencyKey>, KeyRejection>;

pub(crate) fn routes(idempotency: &Idempotency) -> Router<Probe> {
    const OPTIONS: Options = Options::new().key(order_number);
    let layered = Router::new()
        .route("/orders", post(answer))
        .layer(IdempotencyLayer::new(idempotency.clone()).with_options(OPTIONS));
    Router::new()
        .route("/keys/orders", post(place_order))
        .route("/keys/orders/optional", post(place_order_or_not))
        .route(
            "/keys/orders/small",
            post(place_order).layer(DefaultBodyLimit::max(100)),
        )
        .route("/keys/requests", post(take_request))
        .route("/keys/requests/optional", post(take_request_or_not))
        .route("/keys/tenants", post(take_request_of_tenant))
        .route("/keys/either", post(take_either))
        .route("/keys/own", post(take_own))
        .route("/keys/lenient", post(place_order_leniently))
        .nest("/keys/layered", layered)
}

fn order_number(request: &KeyRequest<'_>) -> Found {
    request.member("order.number")
}

/// Takes a body that it cannot read for one without a number.
fn lenient(request: &KeyRequest<'_>) -> Found {
    Ok(request.member("order.number").ok().flatten())
}

fn request_id(request: &KeyRequest<'_>) -> Found {
    request.header("X-Request-Id")
}

fn either(request: &KeyRequest<'_>) -> Found {
    match request.header("idempotency-key")? {
        Some(key) => Ok(Some(key)),
        None => order_number(request),
    }
}

/// Of another kind than the library knows.
fn own(request: &KeyRequest<'_>) -> Found {
    match request.head().uri.query() {
        Some("fail") => Err(KeyRejection::failed("the list of orders is not there")),
        Some("refuse") => Err(KeyRejection::new("its check digit is wrong")),
        Some(key) => Ok(Some(IdempotencyKey::new(key)?)),
        None => Ok(None),
    }
}

fn tenant(head: &Parts) -> Result<Scope, Box<dyn Error + Send + Sync>> {
    let tenant = head.headers.get("x-tenant").ok_or("no tenant")?;
    Ok(Scope::principal(tenant.to_str()?))
}

#[idempotent(required, key = order_number)]
async fn place_order(State(probe): State<Probe>, body: Bytes) -> Response {
    run(&probe, body)
}

#[idempotent(key = lenient)]
async fn place_order_leniently(State(probe): State<Probe>, body: Bytes) -> Response {
    run(&probe, body)
}

#[idempotent(key = order_number)]
async fn place_order_or_not(State(probe): State<Probe>, body: Bytes) -> Response {
    run(&probe, body)
}

#[idempotent(required, key = request_id)]
async fn take_request(State(probe): State<Probe>, body: Bytes) -> Response {
    run(&probe, body)
}

#[idempotent(key = request_id)]
async fn take_request_or_not(State(probe): State<Probe>, body: Bytes) -> Response {
    run(&probe, body)
}

#[idempotent(required, key = request_id, scope = tenant)]
async fn take_request_of_tenant(State(probe): State<Probe>, body: Bytes) -> Response {
    run(&probe, body)
}

#[idempotent(required, key = either)]
async fn take_either(State(probe): State<Probe>, body: Bytes) -> Response {
    run(&probe, body)
}

#[idempotent(required, key = own)]
async fn take_own(State(probe): State<Probe>, body: Bytes) -> Response {
    run(&probe, body)
}

async fn answer(State(probe): State<Probe>, body: Bytes) -> Response {
    run(&probe, body)
}

/// Gives the number of the run, and the body that the handler got.
fn run(probe: &Probe, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    let run = probe.count().into();
    response.headers_mut().insert("etag", run);
    *response.status_mut() = StatusCode::CREATED;
    response
}

/// A request without `Idempotency-Key`.
fn send(server: &TestServer, path: &str, body: impl Into<reqwest::Body>) -> RequestBuilder {
    server
        .request(reqwest::Method::POST, path)
        .header("content-type", "application/json")
        .body(body)
}

const ORDER: &str = r#"{"order": {"number": "O-1", "amount": 1}}"#;

// proves: key-from-body-member
#[tokio::test]
async fn a_member_of_the_body_is_the_key() {
    let server = TestServer::new().await;
    let first = Reply::to(send(&server, "/keys/orders", ORDER)).await;
    first.assert_fresh(201);
    assert_eq!(first.text(), ORDER);
    // The same value in another layout.
    let same = r#"{ "order" : {"amount":1.0,"number":"\u004f-1"} }"#;
    Reply::to(send(&server, "/keys/orders", same))
        .await
        .assert_replays(&first);
    let reused = r#"{"order": {"number": "O-1", "amount": 2}}"#;
    Reply::to(send(&server, "/keys/orders", reused))
        .await
        .assert_problem("idempotency_key_reused");
    let other = r#"{"order": {"number": "O-2", "amount": 1}}"#;
    Reply::to(send(&server, "/keys/orders", other))
        .await
        .assert_fresh(201);
    assert_eq!((server.probe.runs(), server.records().await), (2, 2));
}

// proves: key-from-body-member
#[tokio::test]
async fn a_number_is_a_key_in_its_decimal_digits() {
    let server = TestServer::new().await;
    let first = r#"{"order":{"number":1200}}"#;
    let first = Reply::to(send(&server, "/keys/orders", first)).await;
    first.assert_fresh(201);
    let same = r#"{"order":{"number":12e2}}"#;
    Reply::to(send(&server, "/keys/orders", same))
        .await
        .assert_replays(&first);
    // The key is the same text, and the request is another one.
    let text = r#"{"order":{"number":"1200"}}"#;
    assert_eq!(
        Reply::to(send(&server, "/keys/orders", text)).await.status,
        422
    );
}

// proves: key-from-other-field
#[tokio::test]
async fn another_field_is_the_key_and_idempotency_key_is_ignored() {
    let server = TestServer::new().await;
    let request = |key: &str| {
        send(&server, "/keys/requests", "{}")
            .header("x-request-id", "r#1 2|3")
            .header("idempotency-key", key)
    };
    let first = Reply::to(request("one")).await;
    first.assert_fresh(201);
    for key in ["two", "\"malformed", ""] {
        Reply::to(request(key)).await.assert_replays(&first);
    }
    // In double quotes it is the same key.
    let quoted = send(&server, "/keys/requests", "{}").header("x-request-id", "\"r#1 2|3\"");
    Reply::to(quoted).await.assert_replays(&first);
    assert_eq!(server.records().await, 1);
}

// proves: keyless-request-passes, key-from-body-member
#[tokio::test]
async fn without_its_own_key_an_optional_request_runs_each_time_with_its_body() {
    let server = TestServer::new().await;
    for path in [
        "/keys/orders/optional",
        "/keys/requests/optional",
        "/keys/layered/orders",
    ] {
        for _ in 0..2 {
            let request = send(&server, path, "{\"a\":1}").header("idempotency-key", "k");
            let response = Reply::to(request).await;
            response.assert_fresh(201);
            assert_eq!(response.text(), "{\"a\":1}");
            assert_eq!(response.header("idempotency-expires"), None);
        }
    }
    assert_eq!((server.probe.runs(), server.records().await), (6, 0));
}

// proves: key-from-body-member
#[tokio::test]
async fn a_layer_takes_the_key_from_the_body_too() {
    let server = TestServer::new().await;
    let request = || send(&server, "/keys/layered/orders", ORDER);
    let first = Reply::to(request()).await;
    first.assert_fresh(201);
    assert_eq!(first.text(), ORDER);
    Reply::to(request()).await.assert_replays(&first);
}

// proves: principals-are-separate, key-from-other-field
#[tokio::test]
async fn an_own_key_belongs_to_its_caller() {
    let server = TestServer::new().await;
    let request = |tenant: &str| {
        send(&server, "/keys/tenants", "{}")
            .header("x-request-id", "r1")
            .header("x-tenant", tenant)
    };
    let first = Reply::to(request("ann")).await;
    first.assert_fresh(201);
    Reply::to(request("bob")).await.assert_fresh(201);
    Reply::to(request("ann")).await.assert_replays(&first);
}

// proves: key-from-body-member, key-from-other-field
#[tokio::test]
async fn a_function_may_look_in_several_places() {
    let server = TestServer::new().await;
    let mut headers = HeaderMap::new();
    headers.insert("idempotency-key", "\"k\"".parse().expect("a value"));
    let by_field = Reply::to(send(&server, "/keys/either", "{}").headers(headers)).await;
    by_field.assert_fresh(201);
    let bare = send(&server, "/keys/either", "{}").header("idempotency-key", "k");
    Reply::to(bare).await.assert_replays(&by_field);
    let by_member = Reply::to(send(&server, "/keys/either", ORDER)).await;
    by_member.assert_fresh(201);
    Reply::to(send(&server, "/keys/either", ORDER))
        .await
        .assert_replays(&by_member);
}

/// The function sees no body at first, and says that there is no key.
// proves: key-from-body-member
#[tokio::test]
async fn a_function_that_forgives_a_missing_body_is_asked_again_with_it() {
    let server = TestServer::new().await;
    let order = || send(&server, "/keys/lenient", r#"{"order":{"number":"7"}}"#);
    let first = Reply::to(order()).await;
    let again = Reply::to(order()).await;
    again.assert_replays(&first);
    assert_eq!(server.probe.runs(), 1);
}
