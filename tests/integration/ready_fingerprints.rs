//! Fingerprints of the library for which not all of the body counts.

use std::time::Duration;

use axum::{Router, extract::State, routing::post};
use bytes::Bytes;
use http::request::Parts;
use idempotency::{
    Idempotency, IdempotencyLayer, Options,
    fingerprint::{self, ignore_body},
    idempotent, json_without,
    options::FingerprintFn,
};
use tests::reply::Reply;

use crate::{app::Probe, test_server::TestServer};

const SENT_AT: &str = "sent_at";

pub(crate) fn routes(idempotency: &Idempotency) -> Router<Probe> {
    const OPTIONS: Options = Options::new()
        .ttl(Duration::from_secs(60))
        .fingerprint(json_without![SENT_AT]);
    let layered = Router::new()
        .route("/orders", post(answer))
        .layer(IdempotencyLayer::new(idempotency.clone()).with_options(OPTIONS));
    Router::new()
        .route("/without", post(take))
        .route("/without/body", post(take_any))
        .route("/without/own", post(take_own))
        .nest("/without/layered", layered)
}

#[idempotent(fingerprint = json_without!(SENT_AT, "meta.trace_id", "/a.b/0", "items.*.at",))]
async fn take(State(probe): State<Probe>) -> String {
    probe.count().to_string()
}

#[idempotent(fingerprint = ignore_body)]
async fn take_any(State(probe): State<Probe>) -> String {
    probe.count().to_string()
}

fn own(head: &Parts, body: &Bytes) -> Vec<u8> {
    let mut counts = fingerprint::json_without(body, &[SENT_AT]);
    counts.extend(
        head.headers
            .get("x-version")
            .map_or(&b""[..], |version| version.as_bytes()),
    );
    counts
}

#[idempotent(fingerprint = own)]
async fn take_own(State(probe): State<Probe>) -> String {
    probe.count().to_string()
}

async fn answer(State(probe): State<Probe>) -> String {
    probe.count().to_string()
}

// proves: json-members-left-out
#[tokio::test]
async fn members_that_are_left_out_may_differ_and_no_others() {
    let server = TestServer::new().await;
    let send = |body: &str| Reply::to(server.post("/without", "k", body));
    let first = send(
        r#"{"sent_at":1,"meta":{"trace_id":"a","user":"Ann"},"a.b":[1,2],"items":[{"at":1,"n":1},{"n":2}]}"#,
    )
    .await;
    first.assert_fresh(200);
    for same in [
        r#"{"sent_at":2,"meta":{"trace_id":"b","user":"Ann"},"a.b":[0,2],"items":[{"at":3,"n":1},{"at":4,"n":2}]}"#,
        r#"{"items":[{"n":1},{"n":2}],"meta":{"user":"Ann"},"a.b":[[],2.0]}"#,
        r#"{"sent_at":{"x":[1,{"y":"}"}]},"meta":{"user":"Ann","trace_id":null},"a.b":["\"",2],"items":[{"n":1},{"n":2}]}"#,
    ] {
        send(same).await.assert_replays(&first);
    }
    for other in [
        r#"{"sent_at":1,"meta":{"trace_id":"a","user":"Bob"},"a.b":[1,2],"items":[{"n":1},{"n":2}]}"#,
        r#"{"sent_at":1,"meta":{"trace_id":"a","user":"Ann"},"a.b":[1,3],"items":[{"n":1},{"n":2}]}"#,
        r#"{"sent_at":1,"meta":{"trace_id":"a","user":"Ann"},"a.b":[1,2],"items":[{"n":1}]}"#,
        r#"{"sent_at":1,"meta":{"sent_at":1,"trace_id":"a","user":"Ann"},"a.b":[1,2],"items":[{"n":1},{"n":2}]}"#,
        r#"{"trace_id":1,"meta":{"trace_id":"a","user":"Ann"},"a.b":[1,2],"items":[{"n":1},{"n":2}]}"#,
        "{}",
        "not JSON",
        "",
    ] {
        assert_eq!(send(other).await.status, 422, "{other}");
    }
    assert_eq!(server.probe.runs(), 1);
}

// proves: json-members-left-out
#[tokio::test]
async fn a_body_that_is_not_json_counts_byte_by_byte() {
    let server = TestServer::new().await;
    for (index, (body, other)) in [
        ("{\"sent_at\":1", "{\"sent_at\":2"),
        // Readers disagree on its value.
        (
            r#"{"a":1,"a":2,"sent_at":1}"#,
            r#"{"a":1,"a":2,"sent_at":2}"#,
        ),
        ("sent_at=1", "sent_at=2"),
    ]
    .into_iter()
    .enumerate()
    {
        let key = index.to_string();
        let send = |body: &str| Reply::to(server.post("/without", &key, body));
        let first = send(body).await;
        first.assert_fresh(200);
        send(body).await.assert_replays(&first);
        assert_eq!(send(other).await.status, 422, "{other}");
    }
}

// proves: json-members-left-out
#[tokio::test]
async fn a_layer_and_a_function_of_the_application_leave_members_out_too() {
    let server = TestServer::new().await;
    for path in ["/without/layered/orders", "/without/own"] {
        let send = |body: &str| server.post(path, path, body).header("x-version", "1");
        let first = Reply::to(send(r#"{"sent_at":1,"a":1}"#)).await;
        first.assert_fresh(200);
        Reply::to(send(r#"{"a":1,"sent_at":2}"#))
            .await
            .assert_replays(&first);
        assert_eq!(Reply::to(send(r#"{"a":2}"#)).await.status, 422);
    }
    let other = server.post("/without/own", "/without/own", r#"{"a":1}"#);
    assert_eq!(Reply::to(other.header("x-version", "2")).await.status, 422);
}

// proves: body-left-out
#[tokio::test]
async fn without_the_body_the_rest_of_the_request_counts() {
    let server = TestServer::new().await;
    let first = Reply::to(server.post("/without/body", "k", "{}")).await;
    first.assert_fresh(200);
    Reply::to(server.post("/without/body", "k", "[1]"))
        .await
        .assert_replays(&first);
    let other = server.post("/without/body?x", "k", "{}");
    assert_eq!(Reply::to(other).await.status, 422);
}

// proves: json-members-left-out
#[test]
fn what_is_left_out_leaves_no_trace() {
    const WITHOUT: FingerprintFn = json_without!("a", "b.c", "*.d");
    let (head, ()) = http::Request::new(()).into_parts();
    let counts = |body: &'static str| WITHOUT(&head, &Bytes::from_static(body.as_bytes()));
    for (one, other) in [
        ("{}", r#"{"a":1}"#),
        (r#"{"x":1}"#, r#"{"x":1,"a":[{}]}"#),
        (r#"{"x":1}"#, r#"{"a":{},"x":1}"#),
        (r#"{"x":1,"z":2}"#, r#"{"z":2,"a":1,"x":1}"#),
        (r#"{"b":{}}"#, r#"{"b":{"c":1,"d":2}}"#),
        (r#"[{"e":1}]"#, r#"[{"d":{"d":1},"e":1}]"#),
        (r#"{"\u0062":{"\"":1}}"#, r#"{"b":{"\u0022":1,"c":"\\"}}"#),
    ] {
        assert_eq!(counts(one), counts(other), "{one} and {other}");
    }
    for (one, other) in [
        ("{}", "[]"),
        ("{}", r#"{"b":{}}"#),
        (r#"{"b":1}"#, r#"{"b":{"c":1}}"#),
        (r#"{"x":{"a":1}}"#, r#"{"x":{}}"#),
        (r#"["a"]"#, "[]"),
        ("1", "2"),
        (r#""a""#, r#""b""#),
    ] {
        assert_ne!(counts(one), counts(other), "{one} and {other}");
    }
}
