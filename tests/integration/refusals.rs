//! Requests that the library refuses while their clients are still sending, under `axum::serve`.

use axum::{Router, routing::post};
use idempotency::idempotent;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::test_server::TestServer;

const LENGTH: usize = 5_000_000;

/// Writes all of a request before it reads anything, as simple clients do, and returns the response.
pub(crate) async fn exchange(mut connection: TcpStream, head: &str) -> String {
    let head = format!(
        "{head}host: test\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {LENGTH}\r\n\r\n"
    );
    let request = [head.into_bytes(), vec![b'x'; LENGTH]].concat();
    let written = connection.write_all(&request).await;
    written.expect("the server reads");
    let mut response = String::new();
    let read = connection.read_to_string(&mut response).await;
    read.expect("the response");
    response
}

// proves: oversized-body-takes-no-key, refusal-reaches-sending-client
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_writes_its_whole_body_first_reads_the_refusal() {
    let server = TestServer::new().await;
    for (head, code) in [
        ("POST /required HTTP/1.1\r\n", "\"idempotency_key_missing\""),
        (
            "POST /bookings HTTP/1.1\r\nidempotency-key: a,b\r\n",
            "\"idempotency_key_malformed\"",
        ),
        (
            "POST /layered/bookings HTTP/1.1\r\nidempotency-key: a,b\r\n",
            "\"idempotency_key_malformed\"",
        ),
        (
            "POST /small HTTP/1.1\r\nidempotency-key: k\r\n",
            "\"content_too_large\"",
        ),
        (
            "POST /bookings HTTP/1.0\r\nidempotency-key: k\r\n",
            "\"content_too_large\"",
        ),
        (
            "POST /layered/bookings HTTP/1.1\r\nidempotency-key: k\r\n",
            "\"content_too_large\"",
        ),
    ] {
        for _ in 0..5 {
            let response = exchange(server.connect().await, head).await;
            assert!(response.contains(code), "{response}");
            assert!(response.ends_with('}'), "{response}");
        }
    }
    assert_eq!((server.probe.runs(), server.records().await), (0, 0));
}

// proves: oversized-body-takes-no-key, bad-key-gets-no-continue
#[tokio::test]
async fn a_body_that_is_announced_as_too_large_is_not_asked_for() {
    let server = TestServer::new().await;
    for (length, is_asked_for) in [(100, true), (101, false), (LENGTH, false)] {
        let mut connection = server.connect().await;
        let head = format!(
            "POST /small HTTP/1.1\r\nhost: test\r\nidempotency-key: k\r\ncontent-type: application/json\r\n\
             expect: 100-continue\r\ncontent-length: {length}\r\n\r\n"
        );
        let sent = connection.write_all(head.as_bytes()).await;
        sent.expect("the server reads");
        let mut status = [0; 12];
        let read = connection.read_exact(&mut status).await;
        read.expect("a status");
        let expected = if is_asked_for {
            b"HTTP/1.1 100"
        } else {
            b"HTTP/1.1 413"
        };
        assert_eq!(&status, expected);
    }
}

#[idempotent]
async fn unused() {}

// proves: refusal-reaches-sending-client
#[tokio::test(flavor = "multi_thread")]
async fn so_does_the_client_of_a_router_without_an_engine() {
    let app = Router::new().route("/", post(unused));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, app).await.expect("a server") });
    for _ in 0..5 {
        let connection = TcpStream::connect(address).await.expect("a connection");
        let response = exchange(connection, "POST / HTTP/1.1\r\n").await;
        assert!(response.contains("misconfigured"), "{response}");
    }
}

// proves: refusal-reaches-sending-client
#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_an_end_is_not_read_for_ever() {
    let server = TestServer::new().await;
    let mut connection = server.connect().await;
    let head = "POST /required HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = [b"10000\r\n", [b'x'; 0x10000].as_slice(), b"\r\n"].concat();
    let mut sent = 0;
    let mut written = connection.write_all(head.as_bytes()).await;
    while written.is_ok() {
        written = connection.write_all(&chunk).await;
        sent += chunk.len();
    }
    // And what the system buffers before the server reads it.
    assert!(sent < 8 * 1024 * 1024 + 32 * 1024 * 1024, "{sent}");
}
