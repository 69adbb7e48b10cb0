//! What a replay repeats of the first response, and what it must not.

use axum::Extension;
use http::HeaderName;
use idempotency::HttpConfig;
use reqwest::Method;
use rstest_reuse::apply;
use serde_json::json;
use tests::reply::Reply;

use crate::{
    backend::{Backend, each_store, installed},
    test_server::{BOOKING, TestServer},
    transport::Marker,
};

pub(crate) async fn twice(server: &TestServer, script: &serde_json::Value) -> (Reply, Reply) {
    let script = script.to_string();
    let first = Reply::to(server.post("/script", "k", &script)).await;
    first.assert_fresh(first.status.as_u16());
    let again = Reply::to(server.post("/script", "k", &script)).await;
    assert!(again.is_replay(), "{again:?}");
    (first, again)
}

// proves: first-response-unmarked, replay-keeps-status, replay-keeps-body, only-replays-marked
// proves: replay-never-extends-ttl, replay-changes-status-or-etag
#[apply(each_store)]
#[tokio::test]
async fn every_replay_is_the_first_response_again(backend: Backend) {
    let server = installed!(TestServer::on(backend).await);
    let first = Reply::to(server.booking("k")).await;
    first.assert_fresh(201);
    assert_eq!(first.header("location"), Some("/bookings/1"));
    for _ in 0..5 {
        let again = Reply::to(server.booking("k")).await;
        again.assert_replays(&first);
        assert_eq!(
            again.headers.get_all("idempotent-replayed").iter().count(),
            1
        );
    }
    assert_eq!(server.probe.runs(), 1);
}

// proves: replay-keeps-body, replay-changes-bytes, binary-body-mangled
#[tokio::test]
async fn bodies_are_kept_byte_for_byte() {
    for body in ["", "{\"b\":1, \"a\":2}\r\n", "\u{0}\u{ffff} é\u{301}"] {
        let server = TestServer::new().await;
        let (first, again) = twice(&server, &json!({ "body": body })).await;
        assert_eq!(first.text(), body);
        again.assert_replays(&first);
    }
}

// proves: replay-keeps-body, replay-changes-bytes, binary-body-mangled
#[tokio::test]
async fn bodies_that_are_not_text_are_stored_byte_for_byte() {
    let server = TestServer::wrapped(|app| app.layer(Extension(Marker("")))).await;
    let mut body: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    // A body that starts like a compressed file is treated as plain bytes.
    body.splice(..0, [0x1f, 0x8b, 0x08, 0x00]);
    let request = || {
        server
            .request(Method::POST, "/echo")
            .header("idempotency-key", "k")
            .header("content-type", "application/octet-stream")
            .body(body.clone())
    };
    let first = Reply::to(request()).await;
    first.assert_fresh(200);
    assert_eq!(first.body, body);
    Reply::to(request()).await.assert_replays(&first);
    assert_eq!(server.probe.runs(), 1);
}

// proves: replay-keeps-headers, repeated-headers-lost
#[tokio::test]
async fn end_to_end_headers_are_kept_line_by_line() {
    let server = TestServer::new().await;
    let headers = json!([
        ["content-type", "text/plain"],
        ["content-language", "de"],
        ["content-encoding", "identity"],
        ["content-location", "/a"],
        ["content-disposition", "inline"],
        ["location", "/b"],
        ["etag", "\"7\""],
        ["last-modified", "Tue, 01 Jan 2030 00:00:00 GMT"],
        ["link", "</one>; rel=\"next\""],
        ["link", "</two>; rel=\"prev\", </three>; rel=\"last\""],
        ["cache-control", "max-age=60"],
        ["expires", "Tue, 01 Jan 2030 00:00:00 GMT"],
        ["vary", "accept"],
        ["allow", "GET"],
        ["accept-patch", "text/x"],
        ["retry-after", "7"],
        ["preference-applied", "return=minimal"],
        ["x-anything", "1"],
        ["x-anything", "2"],
        ["x-anything", "1"],
        ["x-empty", ""],
        ["x-latin", "caf\u{e9}"],
    ]);
    let (first, again) = twice(&server, &json!({ "status": 201, "headers": headers })).await;
    // The tests in fields.rs cover what a replay adds to Cache-Control.
    let own = |name: &HeaderName| matches!(name.as_str(), "cache-control" | "date");
    for name in first.headers.keys().filter(|name| !own(name)) {
        let of = |response: &Reply| -> Vec<_> {
            response.headers.get_all(name).iter().cloned().collect()
        };
        assert_eq!(of(&first), of(&again), "{name}");
    }
    assert_eq!(again.headers.get_all("x-anything").iter().count(), 3);
    assert_eq!(first.headers.len() + 2, again.headers.len(), "{again:?}");
}

// proves: replay-has-own-date, replay-has-no-age
#[tokio::test]
async fn date_and_length_are_written_anew() {
    let server = TestServer::new().await;
    let headers = json!([["date", "Sun, 06 Nov 1994 08:49:37 GMT"], ["age", "7"]]);
    let (first, again) = twice(&server, &json!({ "body": "12345", "headers": headers })).await;
    assert_eq!(first.header("date"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    let dates: Vec<_> = again.headers.get_all("date").iter().collect();
    assert_eq!(dates.len(), 1);
    assert_ne!(dates[0], "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(again.header("content-length"), Some("5"));
    assert_eq!(again.header("age"), None);
}

// proves: connection-fields-not-replayed, cookies-and-challenges-replayed
#[tokio::test]
async fn fields_of_the_connection_are_dropped() {
    let server = TestServer::new().await;
    let headers = json!([
        ["transfer-encoding", "chunked"],
        ["connection", "x-private, Keep-Alive"],
        ["connection", "x-other"],
        ["x-private", "1"],
        ["x-other", "2"],
        ["keep-alive", "timeout=5"],
        ["proxy-connection", "close"],
        ["te", "trailers"],
        ["trailer", "x-t"],
        ["upgrade", "h2c"],
        ["x-kept", "3"],
    ]);
    let (_, again) = twice(&server, &json!({ "body": "whole", "headers": headers })).await;
    assert_eq!(again.text(), "whole");
    assert_eq!(
        (again.header("x-kept"), again.header("content-length")),
        (Some("3"), Some("5"))
    );
    for name in [
        "transfer-encoding",
        "connection",
        "x-private",
        "x-other",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "upgrade",
    ] {
        assert_eq!(again.header(name), None, "{name}");
    }
}

// proves: secrets-never-stored, exchange-fields-not-replayed, cookies-and-challenges-replayed
// proves: credentials-stored-in-response
#[tokio::test]
async fn secrets_and_fields_of_one_exchange_are_dropped() {
    let server = TestServer::new().await;
    let names = [
        "set-cookie",
        "set-cookie2",
        "www-authenticate",
        "proxy-authenticate",
        "authentication-info",
        "proxy-authentication-info",
        "authorization",
        "clear-site-data",
        "traceparent",
        "tracestate",
        "traceresponse",
        "server-timing",
        "x-request-id",
        "request-id",
        "x-correlation-id",
        "x-amzn-trace-id",
        "ratelimit-limit",
        "ratelimit",
        "x-ratelimit-remaining",
        "age",
        "via",
        "server",
        "alt-svc",
        "access-control-allow-origin",
        "nel",
        "report-to",
        "idempotent-replayed",
        "idempotency-expires",
    ];
    let headers: Vec<_> = names.iter().map(|name| [name, "a-secret-value"]).collect();
    let (first, again) = twice(&server, &json!({ "headers": headers })).await;
    assert_eq!(first.header("set-cookie"), Some("a-secret-value"));
    for name in names {
        assert_ne!(again.header(name), Some("a-secret-value"), "{name}");
    }
    // They are not in the store either.
    let records = server.list().await;
    assert!(!format!("{records:?}").contains("a-secret-value"));
}

// proves: unreplayed-fields-configurable
#[tokio::test]
async fn the_list_of_dropped_headers_can_be_changed() {
    let http = HttpConfig::new()
        .with_dropped_header("x-served-by".parse().expect("a name"))
        .with_kept_header("x-request-id".parse().expect("a name"))
        .with_kept_header("transfer-encoding".parse().expect("a name"));
    let server = TestServer::speaking(http).await;
    let headers = json!([
        ["x-served-by", "a"],
        ["x-request-id", "7"],
        ["x-other", "8"],
        ["via", "9"]
    ]);
    let (_, again) = twice(&server, &json!({ "headers": headers })).await;
    assert_eq!(again.header("x-served-by"), None);
    assert_eq!(again.header("x-request-id"), Some("7"));
    assert_eq!(again.header("x-other"), Some("8"));
    assert_eq!(again.header("via"), None);
}

// proves: finite-stream-stored-whole, endless-stream-withheld
#[tokio::test]
async fn streams_are_stored_whole_and_event_streams_pass_through() {
    let server = TestServer::new().await;
    let (first, again) = twice(&server, &json!({ "padding": 10_000, "streamed": true })).await;
    assert_eq!(first.body.len(), 10_000);
    again.assert_replays(&first);

    let events = json!({
        "body": "data: 1\n\n",
        "streamed": true,
        "headers": [["content-type", "text/event-stream; charset=utf-8"]],
    })
    .to_string();
    let first = Reply::to(server.post("/script", "events", &events)).await;
    first.assert_fresh(200);
    assert_eq!(first.text(), "data: 1\n\n");
    let again = Reply::to(server.post("/script", "events", &events)).await;
    again.assert_problem("idempotency_response_not_stored");
}

// proves: bodiless-stays-bodiless, bodiless-replay-announces-length
#[tokio::test]
async fn responses_without_a_body_have_none_on_replay() {
    for status in [204, 304] {
        let server = TestServer::new().await;
        let script =
            json!({ "status": status, "body": "surplus", "headers": [["content-length", "7"]] })
                .to_string();
        let request = format!(
            "POST /script HTTP/1.1\r\nhost: test\r\nconnection: close\r\nidempotency-key: k\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{script}",
            script.len(),
        );
        for replayed in [false, true] {
            let response = server.raw(&request).await;
            assert!(
                response.starts_with(&format!("HTTP/1.1 {status} ")),
                "{response}"
            );
            assert_eq!(
                response.contains("idempotent-replayed: true"),
                replayed,
                "{response}"
            );
            assert!(
                !response.contains("content-length") && !response.contains("surplus"),
                "{response}"
            );
            assert!(response.ends_with("\r\n\r\n"), "{response}");
        }
    }
}

// proves: replay-shows-past-state
#[tokio::test]
async fn a_replay_shows_the_first_response_not_the_current_state() {
    let server = TestServer::new().await;
    let first = Reply::to(server.booking("k")).await;
    Reply::to(server.post("/bookings", "another", BOOKING))
        .await
        .assert_fresh(201);
    let again = Reply::to(server.booking("k")).await;
    again.assert_replays(&first);
    assert_eq!(again.json()["run"], 1);
}

// proves: client-mark-believed
#[tokio::test]
async fn a_client_cannot_mark_its_request_as_a_replay() {
    let server = TestServer::new().await;
    let request = server.booking("k").header("idempotent-replayed", "true");
    Reply::to(request).await.assert_fresh(201);
    assert_eq!(server.probe.runs(), 1);
}

// proves: conditions-judged-once
#[tokio::test]
async fn the_retry_of_a_conditional_request_replays_its_success() {
    let server = TestServer::new().await;
    let request = |key: &str| {
        server
            .request(Method::PATCH, "/conditional")
            .header("idempotency-key", key)
            .header("if-match", "\"1\"")
    };
    let first = Reply::to(request("k")).await;
    first.assert_fresh(200);
    Reply::to(request("k")).await.assert_replays(&first);
    // The resource has changed: another request with the same condition fails.
    Reply::to(request("another")).await.assert_fresh(412);
}

// proves: replay-keeps-body, stored-bytes-aliased
#[tokio::test]
async fn stored_responses_do_not_change_with_the_requests_that_follow() {
    let server = TestServer::new().await;
    // They share the connection, and so the buffer from which keys and bodies are read.
    let request = |number: usize| {
        let script = json!({ "body": number.to_string().repeat(number) }).to_string();
        server.post("/script", &format!("{number}-{number}"), &script)
    };
    let mut responses = Vec::new();
    for number in 0..100 {
        let first = Reply::to(request(number)).await;
        first.assert_fresh(200);
        responses.push(first);
    }
    for (number, first) in responses.iter().enumerate() {
        assert_eq!(first.text(), number.to_string().repeat(number));
        Reply::to(request(number)).await.assert_replays(first);
    }
    assert_eq!(server.probe.runs(), 100);
}

// proves: first-response-unmarked, only-replays-marked
#[tokio::test]
async fn a_handler_cannot_mark_a_first_response_as_a_replay() {
    let server = TestServer::new().await;
    let headers = json!([
        ["idempotent-replayed", "true"],
        ["idempotency-expires", "never"]
    ]);
    let (first, again) = twice(&server, &json!({ "headers": headers })).await;
    assert_ne!(first.header("idempotency-expires"), Some("never"));
    assert_eq!(
        again.headers.get_all("idempotent-replayed").iter().count(),
        1
    );
    again.assert_replays(&first);
}
