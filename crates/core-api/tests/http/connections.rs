//! Clients that do not read, do not send, or are idle, and what they cost the others.

use std::{future::pending, net::SocketAddr, pin::pin, thread, time::Duration};

use bytes::Bytes;
use clap::Parser;
use core_api::{Config, ServerError};
use h2::client::SendRequest;
use tempfile::tempdir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::{JoinHandle, spawn_blocking},
    time::advance,
};

use crate::server::{Server, booking};

type Client = (SendRequest<Bytes>, JoinHandle<Result<(), h2::Error>>);

/// A client whose windows for responses are closed.
async fn unreading(address: SocketAddr) -> Client {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(0);
    let (client, connection) = builder.handshake(stream).await.unwrap();
    (client.ready().await.unwrap(), tokio::spawn(connection))
}

fn get(path: &str) -> http::Request<()> {
    http::Request::get(format!("http://core-api{path}"))
        .body(())
        .unwrap()
}

#[tokio::test]
async fn unread_responses_take_little_memory() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--database", "memory:"]);
    for number in 0..1000 {
        let booked = server.book(&format!("k{number}"), &"A".repeat(100)).await;
        assert_eq!(booked.status, 201);
    }
    let before = server.memory();
    let mut clients = Vec::new();
    let mut responses = Vec::new();
    for _ in 0..30 {
        let (mut client, connection) = unreading(server.address).await;
        for _ in 0..100 {
            client = client.ready().await.unwrap();
            let (response, _) = client
                .send_request(get("/bookings?limit=1000"), true)
                .unwrap();
            responses.push(response);
        }
        clients.push((client, connection));
    }
    let mut kept = Vec::new();
    for response in responses {
        kept.push(response.await.unwrap());
    }
    let taken = server.memory().saturating_sub(before);
    assert!(taken < 150 * 1024 * 1024, "{taken} bytes");
    assert!(kept.iter().any(|response| response.status() == 200));
    assert!(kept.iter().any(|response| response.status() == 503));
    // Other clients are served.
    assert_eq!(server.book("k", "Ann").await.status, 201);
    assert_eq!(server.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn idle_connections_make_place_and_a_full_service_says_so() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    let mut idle = Vec::new();
    for _ in 0..512 {
        idle.push(TcpStream::connect(server.address).await.unwrap());
    }
    let healthy = server.get("/healthz");
    let told = server.wait_for_log("every connection is in use");
    let (healthy, ()) = tokio::join!(healthy, told);
    assert_eq!(healthy.status, 200);
}

#[tokio::test]
async fn connections_that_have_ended_keep_no_place() {
    let directory = tempdir().unwrap();
    let mut server = Server::start(directory.path(), &["--database", "memory:"]);
    let get = "GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n";
    // More connections than there are places, for each way to leave.
    for request in ["", "GET /healthz HTTP/1.1\r\n", get] {
        for _ in 0..550 {
            let mut connection = TcpStream::connect(server.address).await.unwrap();
            connection.write_all(request.as_bytes()).await.unwrap();
            if request == get {
                assert_eq!(connection.read(&mut [0]).await.unwrap(), 1);
            }
        }
    }
    assert_eq!(server.get("/healthz").await.status, 200);
    server.terminate();
    let (status, _, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("every connection is in use"), "{log}");
}

/// A server in this process, whose clock [`pass`] moves.
async fn serve() -> SocketAddr {
    serve_until(pending()).await.0
}

async fn serve_until(
    stop: impl Future<Output = ()> + Send + 'static,
) -> (SocketAddr, JoinHandle<Result<(), ServerError>>) {
    let arguments = [
        "core-api",
        "--listen",
        "127.0.0.1:0",
        "--database",
        "memory:",
        "--fault-injection",
    ];
    let config = Config::try_parse_from(arguments).unwrap();
    let server = core_api::Server::start(&config).await.unwrap();
    let address = server.address();
    (address, tokio::spawn(server.serve(stop)))
}

/// Lets seconds pass until this is done, and returns how many.
async fn pass(waiting: impl Future<Output = ()>) -> u32 {
    let mut waiting = pin!(waiting);
    let mut seconds = 0;
    loop {
        // The clock stops while a thread blocks, so that it does not run ahead of the network.
        let wire = spawn_blocking(|| thread::sleep(Duration::from_millis(5)));
        tokio::select! {
            biased;
            () = &mut waiting => return seconds,
            slept = wire => slept.unwrap(),
        }
        advance(Duration::from_secs(1)).await;
        seconds += 1;
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_not_read_is_given_up_and_the_connection_closed() {
    let address = serve().await;
    let waited = pass(async {
        let (mut client, connection) = unreading(address).await;
        let (response, _) = client.send_request(get("/bookings"), true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200);
        // It may end in any way.
        drop(connection.await.unwrap());
        drop((client, response));
    });
    assert!((60..120).contains(&waited.await));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_in_time_is_refused() {
    let address = serve().await;
    let waited = pass(async {
        let mut connection = TcpStream::connect(address).await.unwrap();
        let head = "POST /bookings HTTP/1.1\r\nhost: h\r\nidempotency-key: k\r\n\
                    content-type: application/json\r\ncontent-length: 100\r\n\r\n{";
        connection.write_all(head.as_bytes()).await.unwrap();
        let mut response = Vec::new();
        connection.read_to_end(&mut response).await.unwrap();
        let response = String::from_utf8(response).unwrap();
        assert!(response.starts_with("HTTP/1.1 400"), "{response}");
        assert!(response.contains("content_incomplete"), "{response}");
    });
    assert!((59..70).contains(&waited.await));
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed() {
    let address = serve().await;
    let waited = pass(async {
        let mut connection = TcpStream::connect(address).await.unwrap();
        assert_eq!(connection.read(&mut [0]).await.unwrap(), 0);
    });
    assert!((59..80).contains(&waited.await));
}

#[tokio::test(start_paused = true)]
async fn a_request_under_way_keeps_a_connection_on_which_another_response_is_not_read() {
    let address = serve().await;
    let waited = pass(async {
        let (mut client, _connection) = unreading(address).await;
        let (unread, _) = client.send_request(get("/bookings"), true).unwrap();
        assert_eq!(unread.await.unwrap().status(), 200);
        let slow = http::Request::post("http://core-api/bookings")
            .header("idempotency-key", "k")
            .header("content-type", "application/json")
            .header("x-fault-delay-ms", "120000")
            .body(())
            .unwrap();
        let mut client = client.ready().await.unwrap();
        let (slow, mut body) = client.send_request(slow, false).unwrap();
        body.send_data(booking("Ann").to_string().into(), true)
            .unwrap();
        assert_eq!(slow.await.unwrap().status(), 201);
    });
    assert!(waited.await >= 119);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_arrive_in_time_closes_its_connection() {
    let address = serve().await;
    for head in [
        "GET /healthz HTT",
        "GET /healthz HTTP/1.1\r\nhost: h\r\nx-a:",
    ] {
        let waited = pass(async {
            let mut connection = TcpStream::connect(address).await.unwrap();
            connection.write_all(head.as_bytes()).await.unwrap();
            // By a close or by a reset.
            drop(connection.read_to_end(&mut Vec::new()).await);
        });
        assert!((59..80).contains(&waited.await));
    }
}

// proves: refusal-reaches-sending-client
#[tokio::test(start_paused = true)]
async fn a_client_that_stops_sending_what_is_not_wanted_keeps_no_place() {
    let address = serve().await;
    let waited = pass(async {
        let mut connection = TcpStream::connect(address).await.unwrap();
        let request = "POST /bookings HTTP/1.1\r\nhost: h\r\nidempotency-key: a,b\r\ncontent-length: 5000000\r\n\r\nx";
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut response = Vec::new();
        connection.read_to_end(&mut response).await.unwrap();
        let response = String::from_utf8(response).unwrap();
        assert!(response.starts_with("HTTP/1.1 400"), "{response}");
        assert!(response.ends_with('}'), "{response}");
    });
    // Long before the deadline of a body that the server wants.
    assert!((1..30).contains(&waited.await));
}

// proves: shutdown-waits-for-runs
#[tokio::test(start_paused = true)]
async fn a_response_that_is_not_read_is_no_reason_to_fail_a_stop() {
    let (stop, stopped) = oneshot::channel::<()>();
    let (address, serving) = serve_until(async { drop(stopped.await) }).await;
    let waited = pass(async {
        let (mut client, connection) = unreading(address).await;
        let (response, _) = client.send_request(get("/bookings"), true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200);
        drop(stop);
        serving.await.unwrap().unwrap();
        drop((client, connection, response));
    });
    assert!(waited.await < 30);
}

// proves: shutdown-waits-for-runs, refusal-reaches-sending-client
#[tokio::test(start_paused = true)]
async fn a_stop_does_not_cut_off_a_client_that_still_sends_what_was_refused() {
    let (stop, stopped) = oneshot::channel::<()>();
    let (address, serving) = serve_until(async { drop(stopped.await) }).await;
    // The clock stops while a thread blocks.
    let (go_on, blocked) = std::sync::mpsc::channel::<()>();
    let blocking = spawn_blocking(move || blocked.recv());
    let mut idle = TcpStream::connect(address).await.unwrap();
    let mut sending = TcpStream::connect(address).await.unwrap();
    let head = "POST /bookings HTTP/1.1\r\nhost: h\r\nidempotency-key: a,b\r\ncontent-length: 5000000\r\n\r\n";
    let first = [head.as_bytes(), &[b'x'; 1_000_000]].concat();
    sending.write_all(&first).await.unwrap();
    let mut response = Vec::new();
    while !response.ends_with(b"}") {
        response.push(sending.read_u8().await.unwrap());
    }
    assert!(response.starts_with(b"HTTP/1.1 400"));
    drop(stop);
    // Closed by the stop.
    drop(idle.read(&mut [0]).await);
    sending.write_all(&[b'x'; 4_000_000]).await.unwrap();
    assert_eq!(sending.read(&mut [0]).await.unwrap(), 0);
    drop(go_on);
    blocking.await.unwrap().unwrap_err();
    serving.await.unwrap().unwrap();
}
