//! Requests that are refused for a key from elsewhere.

use reqwest::RequestBuilder;
use tests::reply::Reply;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{ORDER, send};
use crate::test_server::TestServer;

/// The details of the 400 that this request gets.
async fn refusal(request: RequestBuilder, code: &str) -> String {
    let response = Reply::to(request).await;
    response.assert_problem(code);
    response.json()["detail"]
        .as_str()
        .expect("a text")
        .to_owned()
}

// proves: missing-own-key-named, missing-required-key-refused
#[tokio::test]
async fn a_refusal_names_the_places_where_the_key_was_looked_for() {
    let server = TestServer::new().await;
    let missing = "idempotency_key_missing";
    for (path, body, places) in [
        ("/keys/requests", ORDER, "the header field x-request-id."),
        (
            "/keys/orders",
            "{}",
            "the member order.number of the JSON body.",
        ),
        (
            "/keys/orders",
            "",
            "the member order.number of the JSON body.",
        ),
        (
            "/keys/orders",
            r#"{"order":{"number":null}}"#,
            "the member order.number of the JSON body.",
        ),
        (
            "/keys/either",
            "{}",
            "the header field idempotency-key, or the member order.number of the JSON body.",
        ),
        (
            "/keys/own",
            "{}",
            "a part of the request that the service determines.",
        ),
    ] {
        // The field that clients otherwise send makes no difference, and no refusal asks for it.
        let mut request = send(&server, path, body);
        if path != "/keys/either" {
            request = request.header("idempotency-key", "k");
        }
        let detail = refusal(request, missing).await;
        let expected = format!("This endpoint takes its key from {places}");
        assert!(detail.starts_with(&expected), "{path}: {detail}");
    }
    assert_eq!((server.probe.runs(), server.records().await), (0, 0));
    assert_eq!(server.faults.claim.calls(), 0);
}

// proves: own-key-malformed-refused
#[tokio::test]
async fn what_cannot_be_a_key_is_refused_also_where_a_key_is_optional() {
    let server = TestServer::new().await;
    let malformed = "idempotency_key_malformed";
    let member = |value: &str| format!(r#"{{"order":{{"number":{value}}}}}"#);
    let long = member(&format!("\"{}\"", "x".repeat(256)));
    let not_readable = "not JSON, or repeats";
    let cases = [
        (member("true"), malformed, "neither a string nor an integer"),
        (member("1.5"), malformed, "neither a string nor an integer"),
        (member("[1]"), malformed, "neither a string nor an integer"),
        (member(r#""""#), malformed, "is empty"),
        (member(r#"" a""#), malformed, "begins or ends with a space"),
        (member(r#""é""#), malformed, "not printable ASCII"),
        (member(r#""a\nb""#), malformed, "not printable ASCII"),
        (member(r#""undefined""#), malformed, "placeholder"),
        (long, "idempotency_key_too_long", "longer than 255"),
        (
            r#"{"order":{"number":"1","number":"2"}}"#.to_owned(),
            malformed,
            not_readable,
        ),
        (r#"{"order":"#.to_owned(), malformed, not_readable),
        ("order=1".to_owned(), malformed, not_readable),
    ];
    for (body, code, reason) in cases {
        for path in ["/keys/orders", "/keys/orders/optional"] {
            let detail = refusal(send(&server, path, body.clone()), code).await;
            assert!(detail.contains(reason), "{body}: {detail}");
            assert!(!detail.contains("Idempotency-Key"), "{detail}");
        }
    }
    for (values, reason) in [
        (&["a", "b"][..], "more than once"),
        (&["a", "a"], "more than once"),
        (&["a,b"], "more than once"),
        (&[""], "is empty"),
        (&["\"a"], "not a valid string"),
        (&["null"], "placeholder"),
    ] {
        for path in ["/keys/requests", "/keys/requests/optional"] {
            let mut request = send(&server, path, "{}");
            for value in values {
                request = request.header("x-request-id", *value);
            }
            let detail = refusal(request, malformed).await;
            assert!(detail.contains(reason), "{values:?}: {detail}");
        }
    }
    let utf8 = "m\u{fc}ll".as_bytes();
    let request = send(&server, "/keys/requests/optional", "{}").header("x-request-id", utf8);
    refusal(request, malformed).await;
    assert_eq!((server.probe.runs(), server.records().await), (0, 0));
}

// proves: key-refused-from-headers
#[tokio::test]
async fn a_key_in_a_field_is_refused_before_the_body_is_there() {
    let server = TestServer::new().await;
    let head = "POST /keys/requests HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\nexpect: 100-continue\r\n\r\n";
    let response = server.raw(head).await;
    assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
    assert!(response.contains("x-request-id"), "{response}");
}

// proves: key-from-body-member
#[tokio::test]
async fn a_body_that_is_too_long_or_broken_runs_nothing() {
    let server = TestServer::new().await;
    let long = format!(
        r#"{{"order":{{"number":"O-1","note":"{}"}}}}"#,
        "x".repeat(200)
    );
    Reply::to(send(&server, "/keys/orders/small", long))
        .await
        .assert_problem("content_too_large");
    let head = "POST /keys/orders/optional HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n";
    let mut connection = server.connect().await;
    let begun = format!("{head}{{\"order\":");
    connection
        .write_all(begun.as_bytes())
        .await
        .expect("a server that reads");
    connection.shutdown().await.expect("a connection");
    let mut response = String::new();
    // The server may close the connection without a response.
    drop(connection.read_to_string(&mut response).await);
    assert!(!response.contains(" 201 "), "{response}");
    Reply::to(send(&server, "/keys/orders", ORDER))
        .await
        .assert_fresh(201);
    assert_eq!(server.probe.runs(), 1);
}

// proves: own-key-malformed-refused
#[tokio::test]
async fn a_function_that_fails_refuses_the_request() {
    let server = TestServer::new().await;
    let detail = refusal(
        send(&server, "/keys/own?refuse", "{}"),
        "idempotency_key_malformed",
    );
    let detail = detail.await;
    assert!(detail.contains("its check digit is wrong"), "{detail}");
    let failed = Reply::to(send(&server, "/keys/own?fail", "{}")).await;
    failed.assert_problem("idempotency_misconfigured");
    // The reason is for the log only.
    assert!(!failed.text().contains("list of orders"), "{failed:?}");
    assert_eq!(server.probe.runs(), 0);
    let first = Reply::to(send(&server, "/keys/own?k1", "{}")).await;
    first.assert_fresh(201);
    Reply::to(send(&server, "/keys/own?k1", "{}"))
        .await
        .assert_replays(&first);
}
