//! Clients that offer to upgrade, and handlers that do.

use std::process::Command;

use axum::{Router, extract::State, routing::post};
use http::{HeaderName, StatusCode, header};
use idempotency::idempotent;
use tests::reply::Reply;
use tests::servers::skip;

use crate::{
    app::Probe,
    test_server::{BOOKING, TestServer},
};

pub(crate) fn routes() -> Router<Probe> {
    Router::new().route("/socket", post(switch_protocols))
}

#[idempotent(ttl_seconds = 3600)]
async fn switch_protocols(
    State(probe): State<Probe>,
) -> (StatusCode, [(HeaderName, &'static str); 2]) {
    probe.count();
    let headers = [(header::CONNECTION, "upgrade"), (header::UPGRADE, "echo")];
    (StatusCode::SWITCHING_PROTOCOLS, headers)
}

// proves: upgrade-never-stored
#[tokio::test]
async fn an_offer_to_upgrade_changes_nothing() {
    let server = TestServer::new().await;
    for (run, upgrade) in [(1, "h2c"), (2, "websocket"), (3, "h2c, foo/2")] {
        let post = async || {
            server
                .raw(format!(
                    "POST /bookings HTTP/1.1\r\nhost: test\r\nconnection: upgrade, http2-settings, close\r\n\
                     upgrade: {upgrade}\r\nhttp2-settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA\r\n\
                     idempotency-key: k{run}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{BOOKING}",
                    BOOKING.len(),
                ))
                .await
        };
        for is_replay in [false, true] {
            let response = post().await;
            assert!(response.starts_with("HTTP/1.1 201 Created"), "{response}");
            let marked = response.contains("idempotent-replayed: true");
            assert_eq!(marked, is_replay, "{response}");
        }
        assert_eq!(server.probe.runs(), run);
    }
}

// proves: missing-required-key-refused, upgrade-never-stored
#[tokio::test]
async fn an_offer_to_upgrade_does_not_stand_in_for_a_required_key() {
    let server = TestServer::new().await;
    let request = server.post("/required", "k", BOOKING).build();
    let mut headers = request.expect("a request").headers().clone();
    headers.remove("idempotency-key");
    headers.insert(header::UPGRADE, "h2c".parse().expect("a value"));
    let request = server.request(reqwest::Method::POST, "/required");
    let refused = Reply::to(request.headers(headers).body(BOOKING)).await;
    refused.assert_problem("idempotency_key_missing");
    assert_eq!(server.probe.runs(), 0);
}

// proves: upgrade-never-stored
#[tokio::test]
async fn a_change_of_protocol_is_never_stored() {
    let server = TestServer::new().await;
    for run in 1..=2 {
        let response = server
            .raw(
                "POST /socket HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: echo\r\n\
                 idempotency-key: k\r\ncontent-length: 0\r\n\r\n",
            )
            .await;
        assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
        assert!(!response.contains("idempotent-replayed"), "{response}");
        assert_eq!((server.probe.runs(), server.records().await), (run, 0));
    }
}

/// The JDK's `HttpClient` offers HTTP/2 with every request that it sends without TLS.
// proves: upgrade-never-stored
#[tokio::test(flavor = "multi_thread")]
async fn the_jdks_client_books_once() {
    let java = |arguments: &[&str]| Command::new("java").args(arguments).output();
    if java(&["--list-modules"]).is_err() {
        return skip("clients in Java", "there is no `java`", false);
    }
    let server = TestServer::new().await;
    let program = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/integration/java/PostThrice.java"
    );
    let url = format!("http://{}/bookings", server.address);
    let ran = tokio::task::spawn_blocking(move || {
        Command::new("java")
            .args([program, &url, "k", BOOKING])
            .output()
            .expect("java runs")
    });
    let ran = ran.await.expect("its output");
    let printed = String::from_utf8_lossy(&ran.stdout).into_owned();
    let lines: Vec<_> = printed.lines().collect();
    let [first, second, third] = lines.as_slice() else {
        panic!("three responses: {ran:?}");
    };
    let booking = first.strip_prefix("201 false ").expect("a fresh response");
    for replay in [second, third] {
        assert_eq!(**replay, format!("201 true {booking}"));
    }
    assert_eq!(server.probe.runs(), 1);
}
