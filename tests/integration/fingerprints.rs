//! What makes two requests the same.

use reqwest::{Client, Method, RequestBuilder};
use rstest_reuse::apply;
use tests::reply::Reply;

use crate::{
    backend::{Backend, each_store, installed},
    test_server::{BOOKING, TestServer},
};

/// Asserts that the second request is a retry of the first.
pub(crate) async fn same(first: RequestBuilder, second: RequestBuilder, what: &str) {
    let first = Reply::to(first).await;
    assert_eq!(first.status(), "201 Created", "{what}: {first:?}");
    let second = Reply::to(second).await;
    assert!(second.is_replay(), "{what}: {second:?}");
    assert_eq!(first.body, second.body, "{what}");
}

/// Asserts that the second request is a different one, and leaves the first one's record unchanged.
pub(crate) async fn different(first: RequestBuilder, second: RequestBuilder, what: &str) {
    let again = first.try_clone().expect("a body in memory");
    let first = Reply::to(first).await;
    assert!(!first.status.is_server_error(), "{what}: {first:?}");
    let second = Reply::to(second).await;
    assert_eq!(
        second.status(),
        "422 Unprocessable Entity",
        "{what}: {second:?}"
    );
    second.assert_problem("idempotency_key_reused");
    Reply::to(again).await.assert_replays(&first);
}

// proves: other-body-refused, stored-refusal-stays
#[apply(each_store)]
#[tokio::test]
async fn another_body_is_refused_and_the_first_response_stays(backend: Backend) {
    let server = installed!(TestServer::on(backend).await);
    let other = BOOKING.replace("Ann", "Bob");
    different(
        server.booking("k"),
        server.post("/bookings", "k", &other),
        "name",
    )
    .await;
    assert_eq!(server.probe.runs(), 1);
    let response = Reply::to(server.post("/bookings", "k", &other)).await;
    assert!(
        response.json()["detail"]
            .as_str()
            .expect("a detail")
            .contains("new key")
    );
}

// proves: other-method-or-path-refused, path-counts-as-sent
#[tokio::test]
async fn another_method_or_path_is_refused() {
    let server = TestServer::new().await;
    different(
        server.post("/bookings/1/pay", "c", BOOKING),
        server.post("/bookings/2/pay", "c", BOOKING),
        "path parameter",
    )
    .await;
    let patch = server.booking("a").build().expect("a request");
    let mut patch = patch;
    *patch.method_mut() = Method::PATCH;
    different(
        server.booking("a"),
        RequestBuilder::from_parts(server.client.clone(), patch),
        "method",
    )
    .await;
    different(
        server.booking("b"),
        server.post("/posted", "b", BOOKING),
        "path",
    )
    .await;
}

// proves: query-counts-as-written, query-left-out
#[tokio::test]
async fn the_query_counts_as_it_is_written() {
    let server = TestServer::new().await;
    for (number, (first, second)) in [
        ("", "?dry=1"),
        ("?dry=1", "?dry=2"),
        ("?a=1&b=2", "?b=2&a=1"),
    ]
    .into_iter()
    .enumerate()
    {
        let key = number.to_string();
        let request = |query: &str| server.post(&format!("/bookings{query}"), &key, BOOKING);
        different(request(first), request(second), second).await;
    }
}

// proves: scheme-and-authority-ignored
#[tokio::test]
async fn neither_http_version_nor_authority_nor_the_form_of_the_target_counts() {
    let server = TestServer::new().await;
    let http2 = Client::builder()
        .http2_prior_knowledge()
        .build()
        .expect("a client");
    let first = Reply::to(server.booking("k")).await;
    first.assert_fresh(201);
    let request = http2
        .post(format!("http://{}/bookings", server.address))
        .header("idempotency-key", "k")
        .header("content-type", "application/json")
        .body(BOOKING);
    Reply::to(request).await.assert_replays(&first);
    for (target, host) in [
        ("/bookings", "another.example"),
        ("http://third.example/bookings", "third.example"),
    ] {
        let response = server
            .raw(format!(
                "POST {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\nidempotency-key: k\r\n\
                 content-type: application/json\r\ncontent-length: {}\r\n\r\n{BOOKING}",
                BOOKING.len(),
            ))
            .await;
        assert!(
            response.contains("idempotent-replayed: true"),
            "{target}: {response}"
        );
    }
    assert_eq!(server.probe.runs(), 1);
}

// proves: nested-path-counts-whole, nested-routes-share-key
#[tokio::test]
async fn nested_routers_keep_their_prefix() {
    let server = TestServer::new().await;
    different(
        server.post("/api/bookings", "k", BOOKING),
        server.post("/v2/bookings", "k", BOOKING),
        "prefix",
    )
    .await;
}

// proves: json-layout-ignored, equal-numbers-equal, json-order-counts
#[tokio::test]
async fn equal_json_is_the_same_request() {
    let server = TestServer::new().await;
    for (number, (first, second)) in [
        (
            r#"{"a":1,"b":[true,null]}"#,
            "{ \"b\" : [ true , null ],\n\"a\" : 1 }\r\n",
        ),
        (
            r#"{"a":{"x":1,"y":2},"b":{"z":{}}}"#,
            r#"{"b":{"z":{}},"a":{"y":2,"x":1}}"#,
        ),
        (r#"{"name":"é\/"}"#, r#"{"n\u0061me":"\u00E9/"}"#),
        (r#"{"n":100}"#, r#"{"n":1E+2}"#),
    ]
    .into_iter()
    .enumerate()
    {
        let key = number.to_string();
        let request = |json| server.post("/bookings", &key, json);
        same(request(first), request(second), second).await;
    }
}

// proves: numbers-beyond-double-differ, null-and-array-order-count, repeated-json-names-bytewise
#[tokio::test]
async fn different_json_is_another_request() {
    let server = TestServer::new().await;
    for (number, (first, second)) in [
        (r#"{"n":9007199254740992}"#, r#"{"n":9007199254740993}"#),
        (r#"{"a":null}"#, "{}"),
        (r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#),
        (r#"{"a":2}"#, r#"{"a":1,"a":2}"#),
        (r#"{"a":1,"a":2}"#, r#"{"a":2,"a":1}"#),
    ]
    .into_iter()
    .enumerate()
    {
        let key = number.to_string();
        let request = |json| server.post("/bookings", &key, json);
        different(request(first), request(second), second).await;
    }
}

// proves: invalid-json-bytewise, other-media-types-bytewise
#[tokio::test]
async fn what_is_not_json_counts_byte_by_byte() {
    let server = TestServer::new().await;
    let request = |key: &str, media_type: &str, body: &[u8]| {
        server
            .request(Method::POST, "/layered/bookings")
            .header("idempotency-key", key)
            .header("content-type", media_type)
            .body(body.to_vec())
    };
    let json = "application/json";
    let deep = [b"[".repeat(200), b"]".repeat(200)].concat();
    for (number, (media_type, body)) in [
        (json, b"{\"a\":1} x".as_slice()),
        (json, b"\xef\xbb\xbf{\"a\":1}"),
        (json, b"{\"a\":\"\xff\"}"),
        (json, b""),
        (json, &deep),
        ("text/plain", b"[1]"),
        ("application/x-www-form-urlencoded", b"[1]"),
    ]
    .into_iter()
    .enumerate()
    {
        let key = number.to_string();
        let request = |body| request(&key, media_type, body);
        same(request(body), request(body), "equal bytes").await;
        let response = Reply::to(request(&[b" ", body].concat())).await;
        response.assert_problem("idempotency_key_reused");
    }
}

// proves: media-type-parameters-ignored, media-type-counts, multipart-boundary-ignored
#[tokio::test]
async fn the_media_type_counts_without_its_parameters() {
    let server = TestServer::new().await;
    let request = |key: &str, media_type: &str| {
        server
            .request(Method::POST, "/layered/bookings")
            .header("idempotency-key", key)
            .header("content-type", media_type)
            .body(r#"{"a": 1}"#)
    };
    for (number, other) in [
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/json;x=y",
    ]
    .into_iter()
    .enumerate()
    {
        let key = format!("same-{number}");
        same(
            request(&key, "application/json"),
            request(&key, other),
            other,
        )
        .await;
    }
    for (number, other) in ["text/plain", "application/cbor", "application/vnd.a+json"]
        .into_iter()
        .enumerate()
    {
        let key = format!("other-{number}");
        different(
            request(&key, "application/json"),
            request(&key, other),
            other,
        )
        .await;
    }
    let spaced = request("problem", "application/problem+json").body(r#"{ "a":1 }"#);
    let dense = request("problem", "application/problem+json");
    same(dense, spaced, "a type that ends in +json").await;
    // A retried upload has a new boundary.
    let form = |boundary: &str| {
        let part = "content-disposition: form-data; name=\"a\"\r\n\r\nx";
        request("form", &format!("multipart/form-data; boundary={boundary}"))
            .body(format!("--{boundary}\r\n{part}\r\n--{boundary}--\r\n"))
    };
    same(form("one"), form("two"), "boundary").await;
}

// proves: empty-body-equals-none, body-framing-ignored, expect-header-ignored
// proves: exchange-headers-ignored, language-replayed-to-another
#[tokio::test]
async fn how_the_body_travels_and_other_headers_do_not_count() {
    let server = TestServer::new().await;
    let first = Reply::to(server.booking("k")).await;
    first.assert_fresh(201);
    let (left, right) = BOOKING.split_at(20);
    let head = "POST /bookings HTTP/1.1\r\nhost: test\r\nconnection: close\r\nidempotency-key: k\r\n\
                content-type: application/json\r\n";
    let length = BOOKING.len();
    for request in [
        format!("{head}transfer-encoding: chunked\r\n\r\n{length:x}\r\n{BOOKING}\r\n0\r\n\r\n"),
        format!(
            "{head}transfer-encoding: chunked\r\n\r\n14;x=y\r\n{left}\r\n{:x}\r\n{right}\r\n0\r\nx-t: 1\r\n\r\n",
            right.len(),
        ),
        format!("{head}expect: 100-continue\r\ncontent-length: {length}\r\n\r\n{BOOKING}"),
        format!(
            "{head}date: Tue, 01 Jan 2030 00:00:00 GMT\r\nuser-agent: other\r\nx-request-id: 7\r\naccept: text/html\r\n\
             accept-language: de\r\ntraceparent: 00-1-2-3\r\ncontent-length: {length}\r\n\r\n{BOOKING}"
        ),
    ] {
        let response = server.raw(&request).await;
        assert!(
            response.contains("idempotent-replayed: true"),
            "{request}\n{response}"
        );
    }
    let head = "POST /layered/bookings HTTP/1.1\r\nhost: test\r\nconnection: close\r\nidempotency-key: empty\r\n";
    let none = server.raw(format!("{head}\r\n")).await;
    assert!(
        none.starts_with("HTTP/1.1 201 Created") && !none.contains("idempotent-replayed"),
        "{none}"
    );
    let empty = server.raw(format!("{head}content-length: 0\r\n\r\n")).await;
    assert!(empty.contains("idempotent-replayed: true"), "{empty}");
}

// proves: body-compared-decoded
#[tokio::test]
async fn an_encoded_body_counts_with_its_encoding() {
    let server = TestServer::new().await;
    let request = |encoding: Option<&str>| {
        let request = server
            .request(Method::POST, "/layered/bookings")
            .header("idempotency-key", "k")
            .body("x");
        match encoding {
            Some(encoding) => request.header("content-encoding", encoding),
            None => request,
        }
    };
    different(request(None), request(Some("gzip")), "encoding").await;
}

// proves: custom-versioned-fingerprint
#[tokio::test]
async fn a_handler_can_say_what_counts() {
    let server = TestServer::new().await;
    let request = |path: &str, body: &'static str| {
        server
            .request(Method::POST, path)
            .header("idempotency-key", "k")
            .body(body)
    };
    same(
        request("/half", "same-one."),
        request("/half", "same-two."),
        "second half",
    )
    .await;
    different(
        request("/half", "same-one."),
        request("/half", "else-one."),
        "first half",
    )
    .await;
    // The path counts in any case.
    different(
        request("/half", "same-one."),
        request("/half?dry=1", "same-one."),
        "query",
    )
    .await;
}
