//! The header field: which values are keys, which are refused, and that a refusal touches nothing.

use idempotency::HttpConfig;
use tests::reply::Reply;

use crate::test_server::{BOOKING, TestServer};

/// A request head with these lines for the key, written by hand: a client library would not send them.
fn head(lines: &[&[u8]]) -> Vec<u8> {
    let mut request = b"POST /bookings HTTP/1.1\r\nhost: test\r\nconnection: close\r\n".to_vec();
    request.extend(b"content-type: application/json\r\n");
    for line in lines {
        request.extend_from_slice(line);
        request.extend(b"\r\n");
    }
    request.extend(format!("content-length: {}\r\n\r\n{BOOKING}", BOOKING.len()).as_bytes());
    request
}

fn status(response: &str) -> &str {
    response
        .split("\r\n")
        .next()
        .expect("a status line")
        .trim_start_matches("HTTP/1.1 ")
}

// proves: missing-required-key-refused
#[tokio::test]
async fn a_required_key_that_is_missing_is_refused() {
    let server = TestServer::new().await;
    let request = server
        .request(reqwest::Method::POST, "/required")
        .body(BOOKING);
    let response = Reply::to(request.header("content-type", "application/json")).await;
    response.assert_problem("idempotency_key_missing");
    assert_eq!((server.probe.runs(), server.faults.claim.calls()), (0, 0));
    Reply::to(server.post("/required", "k", BOOKING))
        .await
        .assert_fresh(201);
}

// proves: keyless-request-passes
#[tokio::test]
async fn without_a_key_every_request_runs() {
    let server = TestServer::new().await;
    for run in 1..=2 {
        let request = server
            .request(reqwest::Method::POST, "/bookings")
            .body(BOOKING);
        let response = Reply::to(request.header("content-type", "application/json")).await;
        response.assert_fresh(201);
        assert_eq!(response.header("idempotency-expires"), None);
        assert_eq!(response.json()["run"], run);
    }
    assert_eq!(
        (server.faults.claim.calls(), server.records().await),
        (0, 0)
    );
}

// proves: quoted-key-accepted, bare-key-equals-quoted, key-parameters-ignored
// proves: value-whitespace-ignored, field-name-any-case, quoted-and-bare-differ
#[tokio::test]
async fn a_key_is_the_same_however_it_is_written() {
    let server = TestServer::new().await;
    let first = Reply::to(server.booking("8e03978e-40d5-43e8-bc93-6894a57f9324")).await;
    first.assert_fresh(201);
    for line in [
        "idempotency-key: \"8e03978e-40d5-43e8-bc93-6894a57f9324\"",
        "IDEMPOTENCY-KEY: 8e03978e-40d5-43e8-bc93-6894a57f9324",
        "Idempotency-Key:   8e03978e-40d5-43e8-bc93-6894a57f9324 \t ",
        "Idempotency-Key: \"8e03978e-40d5-43e8-bc93-6894a57f9324\";a=b;c=\"d\";e=?1;f=:AA==:",
        "Idempotency-Key: \"8e03978e-40d5-43e8-bc93-6894a57f9324\"; v=1;x",
    ] {
        let response = server.raw(head(&[line.as_bytes()])).await;
        assert_eq!(status(&response), "201 Created", "{line}");
        assert!(
            response.contains("idempotent-replayed: true"),
            "{line}: {response}"
        );
    }
    assert_eq!(server.probe.runs(), 1);
}

// proves: different-key-lines-refused, equal-key-lines-refused, key-list-refused, split-key-refused
// proves: empty-value-malformed, empty-string-refused, padded-key-refused, overlong-key-refused
// proves: tab-in-key-refused, non-ascii-key-refused, bad-quoting-refused
// proves: malformed-parameters-refused, bare-key-parameters-refused, non-string-key-refused
// proves: malformed-optional-key-refused, unusable-key-ignored
#[tokio::test]
async fn a_malformed_key_is_refused_and_nothing_runs() {
    let server = TestServer::new().await;
    let too_long = format!("idempotency-key: {}", "k".repeat(256));
    let too_long_quoted = format!("idempotency-key: \"{}\"", "k".repeat(1024));
    let one_line: &[&[u8]] = &[
        b"idempotency-key: \"a\", \"b\"",
        b"idempotency-key: a,b",
        b"idempotency-key:",
        b"idempotency-key: \"\"",
        b"idempotency-key: \" a\"",
        too_long.as_bytes(),
        too_long_quoted.as_bytes(),
        b"idempotency-key: \"a\tb\"",
        b"idempotency-key: \"caf\xc3\xa9\"",
        b"idempotency-key: \"a\\n\"",
        b"idempotency-key: \"abc",
        b"idempotency-key: 'abc'",
        b"idempotency-key: \"a\" \"b\"",
        b"idempotency-key: \"k\";",
        b"idempotency-key: k;a=b",
        b"idempotency-key: :YWJj:",
        b"idempotency-key: (\"a\" \"b\")",
        b"idempotency-key: two words",
    ];
    let two_lines: &[[&[u8]; 2]] = &[
        [b"idempotency-key: a", b"idempotency-key: b"],
        [b"idempotency-key: a", b"idempotency-key: a"],
        [b"idempotency-key: \"foo", b"idempotency-key: bar\""],
    ];
    let requests = one_line
        .iter()
        .map(|line| head(&[line]))
        .chain(two_lines.iter().map(|lines| head(lines)));
    for request in requests {
        let sent = String::from_utf8_lossy(&request).into_owned();
        let response = server.raw(request).await;
        assert_eq!(status(&response), "400 Bad Request", "{sent}");
        let code = if sent.contains("kkkk") {
            "too_long"
        } else {
            "malformed"
        };
        assert!(
            response.contains(&format!("\"code\":\"idempotency_key_{code}\"")),
            "{sent}\n{response}"
        );
        assert!(response.contains("application/problem+json"), "{response}");
    }
    assert_eq!((server.probe.runs(), server.faults.claim.calls()), (0, 0));
}

// proves: key-refusal-explains-format
#[tokio::test]
async fn a_refusal_says_what_a_key_looks_like() {
    for (http, bare) in [
        (HttpConfig::new(), true),
        (HttpConfig::new().with_strict_keys(), false),
    ] {
        let server = TestServer::speaking(http).await;
        let response = Reply::to(server.booking("\"")).await;
        response.assert_problem("idempotency_key_malformed");
        let problem = response.json();
        let detail = problem["detail"].as_str().expect("a detail");
        let format = "1 to 255 printable ASCII characters in double quotes";
        assert!(detail.contains(format), "{detail}");
        assert_eq!(detail.contains("or without them"), bare, "{detail}");
    }
}

// proves: longest-key-accepted, key-escapes-decoded
#[tokio::test]
async fn every_printable_character_and_255_of_them_make_a_key() {
    let server = TestServer::new().await;
    let longest = "k".repeat(255);
    for (run, key) in [
        longest.as_str(),
        r#""a\"b\\c""#,
        r#""!#$%&'()*+,-./:;<=>?@[]^_`{|}~ x""#,
    ]
    .into_iter()
    .enumerate()
    {
        let first = Reply::to(server.booking(key)).await;
        first.assert_fresh(201);
        assert_eq!(first.json()["run"], run + 1);
        Reply::to(server.booking(key)).await.assert_replays(&first);
    }
    let quoted = format!("\"{longest}\"");
    assert!(Reply::to(server.booking(&quoted)).await.is_replay());
}

// proves: bare-key-equals-quoted
#[tokio::test]
async fn a_strict_service_takes_quoted_keys_only() {
    let server = TestServer::speaking(HttpConfig::new().with_strict_keys()).await;
    let response = Reply::to(server.booking("k")).await;
    response.assert_problem("idempotency_key_malformed");
    Reply::to(server.booking("\"k\"")).await.assert_fresh(201);
}

// proves: oversized-headers-get-431, control-characters-refused
#[tokio::test]
async fn what_breaks_http_is_refused_before_any_handler() {
    let server = TestServer::new().await;
    let huge = format!("idempotency-key: {}", "k".repeat(500_000));
    assert_eq!(
        status(&server.raw(head(&[huge.as_bytes()])).await),
        "431 Request Header Fields Too Large"
    );
    for line in [
        b"idempotency-key: a\x00b".as_slice(),
        b"idempotency-key: a\x01b",
        b"idempotency-key: a\x7fb",
        b"idempotency-key: a\rb",
        b"idempotency-key: a\r\n b",
        b"idempotency-key : a",
    ] {
        let response = server.raw(head(&[line])).await;
        assert_eq!(status(&response), "400 Bad Request", "{line:?}");
    }
    assert_eq!((server.probe.runs(), server.faults.claim.calls()), (0, 0));
}

// proves: field-name-any-case, trailer-key-ignored, one-configurable-key-field
#[tokio::test]
async fn other_fields_are_not_the_key() {
    let server = TestServer::new().await;
    for run in 1..=2 {
        for line in [
            "idempotency_key: k",
            "x-idempotency-key: k",
            "paypal-request-id: k",
        ] {
            assert_eq!(
                status(&server.raw(head(&[line.as_bytes()])).await),
                "201 Created",
                "{run} {line}"
            );
        }
    }
    let in_a_trailer = format!(
        "POST /bookings HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: application/json\r\n\
         transfer-encoding: chunked\r\ntrailer: idempotency-key\r\n\r\n{:x}\r\n{BOOKING}\r\n0\r\n\
         idempotency-key: k\r\n\r\n",
        BOOKING.len(),
    );
    assert_eq!(status(&server.raw(in_a_trailer).await), "201 Created");
    assert_eq!((server.probe.runs(), server.faults.claim.calls()), (7, 0));
}

// proves: one-configurable-key-field
#[tokio::test]
async fn the_fields_can_have_other_names() {
    let http = HttpConfig::new()
        .with_key_header("x-request-key".parse().expect("a name"))
        .with_replayed_header("x-replayed".parse().expect("a name"))
        .with_expires_header("x-replayed-until".parse().expect("a name"));
    let server = TestServer::speaking(http).await;
    let request = || server.booking("ignored").header("x-request-key", "k");
    let first = Reply::to(request()).await;
    let again = Reply::to(request()).await;
    assert_eq!(first.body, again.body);
    assert_eq!(
        (first.header("x-replayed"), again.header("x-replayed")),
        (None, Some("true"))
    );
    assert!(first.header("x-replayed-until").is_some());
    assert_eq!(
        first.header("x-replayed-until"),
        again.header("x-replayed-until")
    );
    assert_eq!(again.header("idempotent-replayed"), None);
    Reply::to(server.booking("ignored")).await.assert_fresh(201);
}

// proves: overlong-key-refused, other-body-refused, keys-and-bodies-never-logged, keys-in-logs
#[tokio::test]
async fn no_refusal_repeats_the_key_or_the_body() {
    let server = TestServer::new().await;
    Reply::to(server.booking("very-secret-key"))
        .await
        .assert_fresh(201);
    let malformed = format!("very-secret-key{}", "k".repeat(255));
    let other = BOOKING.replace("Ann", "Confidential");
    for request in [
        server.post("/bookings", "very-secret-key", &other),
        server.booking(&malformed),
    ] {
        let response = Reply::to(request).await;
        assert!(response.status.is_client_error());
        let all = format!("{:?} {}", response.headers, response.text());
        assert!(
            !all.contains("very-secret") && !all.contains("Confidential"),
            "{all}"
        );
    }
}
