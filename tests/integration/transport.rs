//! Bodies that are large, slow, cut off or announced.

use bytes::Bytes;
use futures_util::stream;
use reqwest::{Body, Method};
use tests::reply::Reply;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::test_server::{BOOKING, TestServer};

// proves: oversized-body-takes-no-key, unlimited-body-read
#[tokio::test]
async fn a_body_over_the_limit_is_refused_and_the_key_stays_free() {
    let server = TestServer::new().await;
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(100));
    let known = Reply::to(server.post("/small", "k", &large)).await;
    let chunked = server
        .post("/small", "k", "")
        .body(Body::wrap_stream(stream::iter([Ok::<_, std::io::Error>(
            Bytes::from(large.clone()),
        )])));
    for response in [known, Reply::to(chunked).await] {
        response.assert_problem("content_too_large");
    }
    assert_eq!((server.probe.runs(), server.faults.claim.calls()), (0, 0));
    Reply::to(server.post("/small", "k", BOOKING))
        .await
        .assert_fresh(201);
    // By default an endpoint has axum's limit of two megabytes.
    let huge = format!("{{\"a\":\"{}\"}}", "x".repeat(2 * 1024 * 1024));
    let response = Reply::to(server.post("/bookings", "huge", &huge)).await;
    response.assert_problem("content_too_large");
}

// proves: truncated-body-runs-nothing, client-leaves-mid-upload
#[tokio::test]
async fn a_body_that_is_cut_off_is_refused_and_the_key_stays_free() {
    let server = TestServer::new().await;
    let head = "POST /bookings HTTP/1.1\r\nhost: test\r\nidempotency-key: k\r\ncontent-type: application/json\r\n";
    for request in [
        format!("{head}content-length: 500\r\n\r\n{BOOKING}"),
        format!(
            "{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{BOOKING}\r\n",
            BOOKING.len()
        ),
    ] {
        let mut connection = server.connect().await;
        connection
            .write_all(request.as_bytes())
            .await
            .expect("the server reads");
        connection.shutdown().await.expect("a half-open connection");
        let mut response = String::new();
        // The connection may break before the refusal is sent.
        let _ = connection.read_to_string(&mut response).await;
        assert!(
            response.is_empty() || response.contains("content_incomplete"),
            "{response}"
        );
    }
    assert_eq!((server.probe.runs(), server.faults.claim.calls()), (0, 0));
    Reply::to(server.booking("k")).await.assert_fresh(201);
}

// proves: upload-takes-key-last
#[tokio::test]
async fn a_slow_upload_claims_nothing_before_its_last_byte() {
    let server = TestServer::new().await;
    let (left, right) = BOOKING.split_at(20);
    let mut slow = server.connect().await;
    let head = format!(
        "POST /bookings HTTP/1.1\r\nhost: test\r\nconnection: close\r\nidempotency-key: k\r\n\
         content-type: application/json\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        BOOKING.len(),
    );
    slow.write_all(head.as_bytes())
        .await
        .expect("the server reads");
    let mut interim = [0; 25];
    // The server asks for the body, so the head has reached the layer.
    slow.read_exact(&mut interim)
        .await
        .expect("an interim response");
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    slow.write_all(left.as_bytes())
        .await
        .expect("the server reads");
    let first = Reply::to(server.booking("k")).await;
    first.assert_fresh(201);
    slow.write_all(right.as_bytes())
        .await
        .expect("the server reads");
    let mut response = String::new();
    slow.read_to_string(&mut response)
        .await
        .expect("a response");
    assert!(response.contains("idempotent-replayed: true"), "{response}");
    assert_eq!(server.probe.runs(), 1);
}

// proves: key-refused-from-headers, bad-key-gets-no-continue
#[tokio::test]
async fn a_bad_key_is_refused_before_the_body_is_asked_for() {
    let server = TestServer::new().await;
    for (path, line, name) in [
        ("/required", "x-a: b", "idempotency_key_missing"),
        (
            "/required",
            "idempotency-key: \"k",
            "idempotency_key_malformed",
        ),
        (
            "/bookings",
            "idempotency-key: \"k",
            "idempotency_key_malformed",
        ),
    ] {
        let response = server
            .raw(format!(
                "POST {path} HTTP/1.1\r\nhost: test\r\n{line}\r\ncontent-type: application/json\r\n\
                 expect: 100-continue\r\ncontent-length: 1000\r\n\r\n"
            ))
            .await;
        assert!(
            response.starts_with("HTTP/1.1 400 Bad Request"),
            "{response}"
        );
        assert!(
            response.contains(name) && !response.contains("100 Continue"),
            "{response}"
        );
    }
    assert_eq!((server.probe.runs(), server.faults.claim.calls()), (0, 0));
}

// proves: good-key-gets-continue
#[tokio::test]
async fn a_good_key_is_asked_for_its_body_on_replays_too() {
    let server = TestServer::new().await;
    for replayed in [false, true] {
        let response = server
            .raw(format!(
                "POST /bookings HTTP/1.1\r\nhost: test\r\nconnection: close\r\nidempotency-key: k\r\n\
                 content-type: application/json\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n{BOOKING}",
                BOOKING.len(),
            ))
            .await;
        assert!(
            response.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created"),
            "{response}"
        );
        assert_eq!(response.contains("idempotent-replayed: true"), replayed);
    }
}

// proves: unknown-expectation-passes
#[tokio::test]
async fn an_unknown_expectation_goes_through() {
    let server = TestServer::new().await;
    let first = Reply::to(server.booking("k").header("expect", "something-else")).await;
    first.assert_fresh(201);
    Reply::to(server.booking("k").header("expect", "another"))
        .await
        .assert_replays(&first);
}

// proves: handler-sees-original-request
#[tokio::test]
async fn the_handler_gets_the_request_as_it_came() {
    let server = TestServer::wrapped(|app| {
        app.layer(axum::middleware::map_request(
            async |mut request: axum::extract::Request| {
                request.extensions_mut().insert(Marker("from outside"));
                request
            },
        ))
    })
    .await;
    let body: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let request = server
        .request(Method::POST, "/echo?x=%20y")
        .header("idempotency-key", "k")
        .header("content-type", "application/octet-stream")
        .header("x-custom", "1")
        .body(body.clone());
    let response = Reply::to(request).await;
    response.assert_fresh(200);
    assert_eq!(response.body, body);
    for (name, value) in [
        ("x-seen-content-length", "100000"),
        ("x-seen-content-type", "application/octet-stream"),
        ("x-seen-x-custom", "1"),
        ("x-seen-uri", "/echo?x=%20y"),
        ("x-seen-marker", "from outside"),
    ] {
        assert_eq!(response.header(name), Some(value), "{name}");
    }
}

/// An extension that an outer layer sets for the handler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marker(pub(crate) &'static str);

// proves: outer-compression-not-stored
#[tokio::test]
async fn compression_outside_does_not_touch_what_is_stored() {
    let server =
        TestServer::wrapped(|app| app.layer(tower_http::compression::CompressionLayer::new()))
            .await;
    let script =
        serde_json::json!({ "padding": 5000, "headers": [["content-type", "text/plain"]] })
            .to_string();
    let request = |encoding: &'static str| {
        server
            .post("/script", "k", &script)
            .header("accept-encoding", encoding)
    };
    let packed = Reply::to(request("gzip")).await;
    packed.assert_fresh(200);
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    let plain = Reply::to(request("identity")).await;
    assert!(plain.is_replay());
    assert_eq!(
        (plain.header("content-encoding"), plain.body.len()),
        (None, 5000)
    );
    let packed_again = Reply::to(request("gzip")).await;
    assert!(packed_again.is_replay());
    assert_eq!(packed_again.body, packed.body);
}

// proves: body-compared-decoded
#[tokio::test]
async fn a_body_that_is_decoded_outside_counts_decoded() {
    let server = TestServer::wrapped(|app| {
        app.layer(tower_http::decompression::RequestDecompressionLayer::new())
    })
    .await;
    let first = Reply::to(server.booking("k")).await;
    first.assert_fresh(201);
    let packed = gzip(BOOKING.as_bytes());
    let request = server
        .post("/bookings", "k", "")
        .header("content-encoding", "gzip")
        .body(packed);
    Reply::to(request).await.assert_replays(&first);
}

/// The smallest gzip writer: RFC 1952 around one stored block of RFC 1951.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).expect("a short body");
    let checksum = !bytes.iter().fold(u32::MAX, |checksum, &byte| {
        (0..8).fold(checksum ^ u32::from(byte), |checksum, _| {
            (checksum >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(checksum & 1))
        })
    });
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    packed.extend(length.to_le_bytes());
    packed.extend((!length).to_le_bytes());
    packed.extend(bytes);
    packed.extend(checksum.to_le_bytes());
    packed.extend(u32::from(length).to_le_bytes());
    packed
}
