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
    assert_eq!(
        send(server.write("POST", "/bookings", "a", &short))
            .await
            .status,
        201
    );
    let long = booking(&"n".repeat(3000));
    assert_eq!(
        send(server.write("POST", "/bookings", "b", &long))
            .await
            .status,
        413
    );
    let head = server
        .request("GET", "/healthz")
        .header("X-Long", "h".repeat(10_000));
    assert_eq!(send(head).await.status, 431);
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
