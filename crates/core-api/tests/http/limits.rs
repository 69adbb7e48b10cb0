//! The limits that options set.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use tempfile::tempdir;

use crate::server::{Server, booking, send};

// proves: limits-are-options
#[tokio::test]
async fn bodies_and_heads_are_as_long_as_the_options_say() {
    let directory = tempdir().unwrap();
    let options = ["--max-body-bytes", "2048", "--max-header-bytes", "8192"];
    let server = Server::start(directory.path(), &options);
    let short = booking(&"n".repeat(100));
    let response = send(server.write("POST", "/bookings", "a", &short)).await;
    assert_eq!(response.status, 201);
    let long = booking(&"n".repeat(3000));
    let response = send(server.write("POST", "/bookings", "b", &long)).await;
    assert_eq!(response.status, 413);
    let head = server
        .request("GET", "/healthz")
        .header("X-Long", "h".repeat(10_000));
    assert_eq!(send(server.by_http2(head)).await.status, 431);
    let head = server
        .request("GET", "/healthz")
        .header("X-Long", "h".repeat(10_000));
    assert_eq!(send(head).await.status, 431);
    drop(server);
    let server = Server::start(directory.path(), &[]);
    let head = server
        .request("GET", "/healthz")
        .header("X-Long", "h".repeat(30_000));
    assert_eq!(send(server.by_http2(head)).await.status, 200);
}

// proves: limits-are-options
#[tokio::test]
async fn a_body_that_does_not_arrive_in_time_gets_a_refusal() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--body-timeout", "1"]);
    let mut slow = TcpStream::connect(server.address).unwrap();
    let head = "POST /bookings HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nIdempotency-Key: k\r\n\
                Content-Length: 100\r\n\r\n{";
    slow.write_all(head.as_bytes()).unwrap();
    let mut start = [0; 12];
    slow.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 400");
    assert_eq!(server.book("k", "Ann").await.status, 201);
}

// proves: limits-are-options
#[tokio::test]
async fn a_client_waits_while_all_connections_are_in_use() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--max-connections", "1"]);
    let first = TcpStream::connect(server.address).unwrap();
    let ask = |mut stream: &TcpStream| {
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
    };
    ask(&first);
    let mut start = [0; 12];
    (&first).read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    let second = TcpStream::connect(server.address).unwrap();
    ask(&second);
    second
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    assert!(
        (&second).read(&mut start).is_err(),
        "it waits for its place"
    );
    drop(first);
    second
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    (&second).read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
}

// proves: limits-are-options
#[tokio::test]
async fn a_stop_cuts_off_what_takes_longer_than_the_option_says() {
    let directory = tempdir().unwrap();
    let options = [
        "--fault-injection",
        "--no-supervisor",
        "--stop-timeout",
        "1",
    ];
    let mut server = Server::start(directory.path(), &options);
    let slow = server
        .write("POST", "/bookings", "k", &booking("Ann"))
        .header("X-Fault-Delay-Ms", "600000");
    let cut_off = tokio::spawn(slow.send());
    server.wait_for_log("injected a delay").await;
    server.terminate();
    let (status, _, log) = server.wait();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(
        log.contains("1 seconds after the service was asked to stop"),
        "{log}"
    );
    cut_off.await.unwrap().unwrap_err();
}

// proves: limits-are-options
#[tokio::test]
async fn an_idle_connection_is_closed_when_the_option_says() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--idle-timeout", "5"]);
    let mut idle = TcpStream::connect(server.address).unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    idle.set_read_timeout(Some(Duration::from_secs(40)))
        .unwrap();
    let mut response = Vec::new();
    // To the end, which the server makes.
    idle.read_to_end(&mut response).unwrap();
    assert!(response.starts_with(b"HTTP/1.1 200"));
}
