//! Refusals of requests whose clients are still sending.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
};

use reqwest::StatusCode;
use tempfile::tempdir;
use tokio::task::spawn_blocking;

use crate::server::{Server, booking, send};

/// Writes all of a request before it reads anything, as simple clients do, and returns the response.
fn exchange(address: SocketAddr, head: &str, length: usize) -> String {
    let mut connection = TcpStream::connect(address).unwrap();
    let head = format!("{head}host: h\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    connection.write_all(head.as_bytes()).unwrap();
    connection.write_all(&vec![b'x'; length]).unwrap();
    let mut response = String::new();
    connection.read_to_string(&mut response).unwrap();
    response
}

const HEADS: [(&str, &str); 5] = [
    (
        "POST /bookings HTTP/1.1\r\nidempotency-key: a,b\r\n",
        "HTTP/1.1 400 ",
    ),
    (
        "POST /bookings HTTP/1.1\r\nidempotency-key: k\r\ncontent-type: application/json\r\n",
        "HTTP/1.1 413 ",
    ),
    (
        "POST /bookings HTTP/1.1\r\ncontent-type: application/json\r\n",
        "HTTP/1.1 413 ",
    ),
    ("POST /bookings HTTP/1.1\r\n", "HTTP/1.1 415 "),
    ("POST /nowhere HTTP/1.0\r\n", "HTTP/1.0 404 "),
];

// proves: refusal-reaches-sending-client
#[tokio::test]
async fn a_client_that_writes_its_whole_body_first_reads_every_refusal() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--database", "memory:"]);
    for (head, expected) in HEADS {
        for _ in 0..10 {
            let address = server.address;
            let response = spawn_blocking(move || exchange(address, head, 5_000_000)).await;
            let response = response.unwrap();
            assert!(response.starts_with(expected), "{response}");
            assert!(response.ends_with('}'), "{response}");
        }
    }
    assert!(server.bookings().await.is_empty());
    // The key of the request that was too large is free.
    let small = server.request("POST", "/bookings");
    let small = small.header("idempotency-key", "k").json(&booking("Ann"));
    assert_eq!(send(small).await.status, StatusCode::CREATED);
}

// proves: refusal-reaches-sending-client
#[tokio::test]
async fn a_connection_is_kept_after_a_refusal_whose_body_was_read() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--database", "memory:"]);
    let address = server.address;
    let response = spawn_blocking(move || {
        let mut connection = TcpStream::connect(address).unwrap();
        let head = "POST /bookings HTTP/1.1\r\nhost: h\r\nidempotency-key: a,b\r\ncontent-length: 5000000\r\n\r\n";
        connection.write_all(head.as_bytes()).unwrap();
        connection.write_all(&vec![b'x'; 5_000_000]).unwrap();
        let next = "GET /healthz HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
        connection.write_all(next.as_bytes()).unwrap();
        let mut response = String::new();
        connection.read_to_string(&mut response).unwrap();
        response
    });
    let response = response.await.unwrap();
    assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
    assert!(response.contains("}HTTP/1.1 200 OK"), "{response}");
}

// proves: refusal-reaches-sending-client
#[tokio::test]
async fn by_http2_only_the_stream_ends() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--database", "memory:"]);
    for (path, key, status) in [
        ("/bookings", "a,b", 400),
        ("/bookings", "k", 413),
        ("/nowhere", "k", 404),
    ] {
        for _ in 0..10 {
            let request = server
                .request("POST", path)
                .header("idempotency-key", key)
                .header("content-type", "application/json")
                .body(vec![b'x'; 5_000_000]);
            send(server.by_http2(request)).await.problem(status);
        }
    }
}

// proves: refusal-reaches-sending-client
#[tokio::test]
async fn what_is_read_on_is_not_kept() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--database", "memory:"]);
    let before = server.memory();
    let address = server.address;
    let clients: Vec<_> = (0..40)
        .map(|_| thread::spawn(move || exchange(address, HEADS[1].0, 8_000_000)))
        .collect();
    for client in clients {
        // Depending on the machine, this may take longer than the server keeps reading.
        drop(client.join());
    }
    let taken = server.memory().saturating_sub(before);
    assert!(taken < 60 * 1024 * 1024, "{taken} bytes");
    assert_eq!(server.book("another", "Ann").await.status, 201);
}

// proves: refusal-reaches-sending-client
#[tokio::test]
async fn a_body_without_an_end_is_not_read_for_ever() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--database", "memory:"]);
    let address = server.address;
    let sent = spawn_blocking(move || {
        let mut connection = TcpStream::connect(address).unwrap();
        let head = "POST /bookings HTTP/1.1\r\nhost: h\r\nidempotency-key: a,b\r\ntransfer-encoding: chunked\r\n\r\n";
        connection.write_all(head.as_bytes()).unwrap();
        let chunk = [b"10000\r\n", [b'x'; 0x10000].as_slice(), b"\r\n"].concat();
        let mut sent = 0;
        loop {
            match connection.write_all(&chunk) {
                Ok(()) => sent += chunk.len(),
                Err(error) => {
                    let kind = error.kind();
                    let is_closed =
                        matches!(kind, ErrorKind::BrokenPipe | ErrorKind::ConnectionReset);
                    assert!(is_closed, "{error}");
                    return sent;
                }
            }
        }
    });
    // And what the system buffers before the server reads it.
    assert!(sent.await.unwrap() < 8 * 1024 * 1024 + 32 * 1024 * 1024);
}

// proves: bad-key-gets-no-continue, refusal-reaches-sending-client
#[tokio::test]
async fn a_body_that_is_only_announced_is_not_asked_for_by_a_refusal() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--database", "memory:"]);
    for (head, expected) in &HEADS[..4] {
        let address = server.address;
        let response = spawn_blocking(move || {
            let mut connection = TcpStream::connect(address).unwrap();
            let rest = "host: h\r\nexpect: 100-Continue\r\ncontent-length: 5000000\r\n\r\n";
            connection
                .write_all(format!("{head}{rest}").as_bytes())
                .unwrap();
            let mut response = String::new();
            connection.read_to_string(&mut response).unwrap();
            response
        });
        let response = response.await.unwrap();
        assert!(response.starts_with(expected), "{response}");
    }
}
