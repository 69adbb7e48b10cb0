//! Streams of HTTP/2 that are refused, or that end before their request is whole.

use bytes::Bytes;
use h2::{
    Reason,
    client::{Builder, SendRequest},
};
use tempfile::tempdir;
use tokio::net::TcpStream;

use crate::server::{Reply, Server, booking, send};

/// As many streams as the service accepts on one connection.
const MOST: usize = 100;

fn post(key: &str) -> http::Request<()> {
    http::Request::post("http://core-api/bookings")
        .header("idempotency-key", key)
        .header("content-type", "application/json")
        .body(())
        .unwrap()
}

/// A client that opens more streams than the service accepts, because it has not read yet how many that are.
async fn hasty(server: &Server) -> (SendRequest<Bytes>, h2::client::Connection<TcpStream>) {
    let stream = TcpStream::connect(server.address).await.unwrap();
    let mut builder = Builder::new();
    builder.initial_max_send_streams(MOST + 1);
    builder.handshake(stream).await.unwrap()
}

/// Another request than the one that was not carried out, under its key.
async fn book_instead(server: &Server, key: &str) -> Reply {
    let request = server.request("POST", "/bookings");
    let request = request.header("idempotency-key", key);
    send(request.json(&booking("Bob"))).await
}

// proves: refused-stream-no-record
#[tokio::test]
async fn a_stream_that_is_refused_leaves_its_key_free() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--database", "memory:"]);
    let (mut client, connection) = hasty(&server).await;
    let mut open = Vec::new();
    for number in 0..MOST {
        let request = post(&format!("open-{number}"));
        open.push(client.send_request(request, false).unwrap());
    }
    let (refused, mut body) = client.send_request(post("refused"), false).unwrap();
    body.send_data(booking("Ann").to_string().into(), true)
        .unwrap();
    tokio::spawn(connection);
    let error = refused.await.unwrap_err();
    assert_eq!(error.reason(), Some(Reason::REFUSED_STREAM), "{error}");

    // A record would belong to the refused request, and this one would get 422.
    let booked = book_instead(&server, "refused").await;
    assert_eq!((booked.status.as_u16(), booked.is_replayed()), (201, false));
    // The others go on.
    for (response, mut body) in open {
        body.send_data(booking("Cid").to_string().into(), true)
            .unwrap();
        assert_eq!(response.await.unwrap().status(), 201);
    }
    assert_eq!(server.bookings().await.len(), MOST + 1);
}

// proves: refused-stream-no-record
#[tokio::test]
async fn a_stream_that_is_reset_before_its_body_is_whole_leaves_its_key_free() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--database", "memory:"]);
    let (mut client, connection) = hasty(&server).await;
    tokio::spawn(connection);
    let (response, mut body) = client.send_request(post("reset"), false).unwrap();
    body.send_data(Bytes::from_static(b"{\"service_id\":"), false)
        .unwrap();
    body.send_reset(Reason::CANCEL);
    response.await.unwrap_err();
    // The service has read the reset once it responds to what came after it.
    let get = http::Request::get("http://core-api/healthz");
    let (healthy, _) = client.send_request(get.body(()).unwrap(), true).unwrap();
    assert_eq!(healthy.await.unwrap().status(), 200);

    let booked = book_instead(&server, "reset").await;
    assert_eq!((booked.status.as_u16(), booked.is_replayed()), (201, false));
    assert_eq!(server.bookings().await.len(), 1);
}
