//! What a stopping service waits for: requests that have arrived, and nothing else.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{Client, RequestBuilder, header::IF_MATCH};
use rusqlite::Connection;
use tempfile::tempdir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    server::{Server, booking, send},
    tokens::{Tokens, book, get},
};

async fn connect(server: &Server, bytes: &str) -> TcpStream {
    let mut connection = TcpStream::connect(server.address).await.unwrap();
    connection.write_all(bytes.as_bytes()).await.unwrap();
    connection
}

/// Reads up to this text.
async fn read_until(connection: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        let byte = connection.read_u8().await;
        read.push(
            byte.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&read))),
        );
    }
    String::from_utf8(read).unwrap()
}

/// The bytes that still arrive until the connection is closed or reset.
async fn rest(mut connection: TcpStream) -> String {
    let mut rest = Vec::new();
    drop(connection.read_to_end(&mut rest).await);
    String::from_utf8(rest).unwrap()
}

fn post(key: &str, more: &str, body: &str) -> String {
    format!(
        "POST /bookings HTTP/1.1\r\nhost: h\r\nidempotency-key: {key}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n{more}\r\n{body}",
        booking("Ann").to_string().len(),
    )
}

const GET: &str = "GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n";

// proves: shutdown-waits-for-runs
#[tokio::test]
async fn requests_that_have_not_arrived_hold_up_no_stop() {
    let directory = tempdir().unwrap();
    let mut server = Server::start(directory.path(), &["--fault-injection"]);
    let mut stalled = vec![
        connect(&server, "").await,
        connect(&server, "P").await,
        connect(&server, "GET /healthz HTTP/1.1\r\nhost:").await,
    ];
    // One connection is idle and one is in its second head, both after a response.
    for second in ["", "GET /healthz HTTP/1.1\r\nho"] {
        let mut connection = connect(&server, GET).await;
        read_until(&mut connection, "}").await;
        connection.write_all(second.as_bytes()).await.unwrap();
        stalled.push(connection);
    }
    // The server waits for these bodies, because it has asked for them.
    for (key, body) in [("nothing", ""), ("half", "{\"service_id\":")] {
        let expects = "expect: 100-continue\r\n";
        let mut connection = connect(&server, &post(key, expects, "")).await;
        read_until(&mut connection, "100 Continue\r\n\r\n").await;
        connection.write_all(body.as_bytes()).await.unwrap();
        stalled.push(connection);
    }
    let running = server
        .write("POST", "/bookings", "k", &booking("Ann"))
        .header("X-Fault-Delay-Ms", "6000");
    let running = tokio::spawn(send(running));
    server.wait_for_log("injected a delay").await;
    server.terminate();
    for connection in stalled {
        assert_eq!(rest(connection).await, "");
    }
    // They were closed before the request that had arrived got its response.
    assert!(!running.is_finished());
    assert_eq!(running.await.unwrap().status, 201);
    let (status, _, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");
}

/// Clients send a head and then a body, which is in flight when the stop begins. One of three arrives in time
/// even on a machine that stalls for a second.
// proves: shutdown-waits-for-runs
#[tokio::test]
async fn a_request_that_is_on_its_way_when_the_stop_begins_has_a_response() {
    let mut responses = Vec::new();
    for _ in 0..3 {
        let directory = tempdir().unwrap();
        let mut server = Server::start(directory.path(), &[]);
        let mut connection = connect(&server, &post("k", "", "")).await;
        // An idle connection is closed as soon as the connections receive the stop.
        let mut idle = connect(&server, GET).await;
        read_until(&mut idle, "}").await;
        server.terminate();
        rest(idle).await;
        // As long as a body takes over a slow network.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let body = booking("Ann").to_string();
        drop(connection.write_all(body.as_bytes()).await);
        responses.push(rest(connection).await);
        let (status, _, log) = server.wait();
        assert_eq!(status.code(), Some(0), "{log}");
    }
    let is_one = |response: &String| response.starts_with("HTTP/1.1 ");
    assert!(responses.iter().any(is_one), "{responses:?}");
}

// proves: shutdown-waits-for-runs
#[tokio::test]
async fn a_request_that_has_arrived_is_waited_for_and_others_are_not() {
    let directory = tempdir().unwrap();
    let mut server = Server::start(directory.path(), &["--fault-injection"]);
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let post = |key: &str| {
        http::Request::post("http://core-api/bookings")
            .header("idempotency-key", key)
            .header("content-type", "application/json")
            .header("x-fault-delay-ms", "2000")
            .body(())
            .unwrap()
    };
    let mut client = client.ready().await.unwrap();
    let (stalled, mut body) = client.send_request(post("stalled"), false).unwrap();
    body.send_data(Bytes::from_static(b"{"), false).unwrap();
    let mut client = client.ready().await.unwrap();
    let (running, mut body) = client.send_request(post("running"), false).unwrap();
    body.send_data(booking("Ann").to_string().into(), true)
        .unwrap();
    server.wait_for_log("injected a delay").await;
    server.terminate();
    assert_eq!(running.await.unwrap().status(), 201);
    stalled.await.unwrap_err();
    drop(connection.await.unwrap());
    let (status, _, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");
}

// proves: shutdown-waits-for-runs
#[tokio::test]
async fn by_http2_the_stop_is_announced_at_once_and_what_runs_gets_its_response() {
    let directory = tempdir().unwrap();
    let mut server = Server::start(directory.path(), &["--fault-injection"]);
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let post = http::Request::post("http://core-api/bookings")
        .header("idempotency-key", "k")
        .header("content-type", "application/json")
        .header("x-fault-delay-ms", "6000")
        .body(())
        .unwrap();
    let mut client = client.ready().await.unwrap();
    let (running, mut body) = client.send_request(post, false).unwrap();
    body.send_data(booking("Ann").to_string().into(), true)
        .unwrap();
    let running = tokio::spawn(running);
    server.wait_for_log("injected a delay").await;
    server.terminate();
    // GOAWAY ends the client's new requests, which it can send over another connection.
    let announced = loop {
        match client.clone().ready().await {
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert!(announced.is_go_away() && announced.is_remote());
    assert_eq!(announced.reason(), Some(h2::Reason::NO_ERROR));
    assert!(!running.is_finished());
    assert_eq!(running.await.unwrap().unwrap().status(), 201);
    drop(client);
    connection.await.unwrap().unwrap();
    let (status, _, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");
}

// proves: run-survives-client-leaving
#[tokio::test]
async fn a_client_that_has_closed_its_sending_side_gets_its_response() {
    let directory = tempdir().unwrap();
    let mut server = Server::start(directory.path(), &["--fault-injection"]);
    let body = booking("Ann").to_string();
    let slow = post("k", "x-fault-delay-ms: 1000\r\n", &body);
    let mut booked = connect(&server, &slow).await;
    server.wait_for_log("injected a delay").await;
    booked.shutdown().await.unwrap();
    // Sometimes the client has closed it before the server has read anything.
    let mut healthy = connect(&server, GET).await;
    healthy.shutdown().await.unwrap();
    let healthy = rest(healthy).await;
    assert!(healthy.starts_with("HTTP/1.1 200 OK"), "{healthy}");
    server.terminate();
    let booked = rest(booked).await;
    assert!(booked.starts_with("HTTP/1.1 201 Created"), "{booked}");
    assert!(booked.ends_with('}'), "{booked}");
    let (status, _, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");
}

/// What came of a change is in the log, because it was begun.
// proves: shutdown-waits-for-runs
#[tokio::test]
async fn a_stop_waits_for_a_change_of_a_key_whose_client_has_left() {
    let tokens = Tokens::new();
    let ann = tokens.add(&["ann"]);
    let operator = tokens.add(&["root", "--role", "operator"]);
    let mut server = tokens.start(&[]);
    assert_eq!(book(&server, &ann, "k").await.status, 201);
    let keys = get(&server, &operator, "/admin/keys").await.json();
    let (id, version) = (&keys[0]["id"], &keys[0]["version"]);
    let path = format!("/admin/keys/{}/erase", id.as_str().unwrap());
    let tag = format!("\"{}\"", version.as_str().unwrap());
    // The change waits for the file, which the service waits for less than two seconds.
    let file = Connection::open(tokens.directory.path().join("core-api.db")).unwrap();
    file.execute_batch("begin immediate").unwrap();
    let change = server.request("POST", &path).bearer_auth(&operator);
    // A client of its own, whose connection ends with it: the stop waits for open ones.
    let client = Client::builder().http2_prior_knowledge().build().unwrap();
    let change = change.header(IF_MATCH, tag).build().unwrap();
    let change = tokio::spawn(RequestBuilder::from_parts(client, change).send());
    server.wait_for_log("\"asked for\"").await;
    change.abort();
    server
        .wait_for_log("the client left before the response")
        .await;
    let mut idle = connect(&server, GET).await;
    read_until(&mut idle, "}").await;
    server.terminate();
    assert_eq!(rest(idle).await, "");
    file.execute_batch("commit").unwrap();
    let (status, _, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    let done = log.find("\"done\"").expect("it is done");
    assert!(done < log.find("\"stopped\"").unwrap(), "{log}");
}
