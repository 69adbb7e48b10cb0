//! Injected failures.

use reqwest::RequestBuilder;
use tempfile::tempdir;

use crate::server::{Server, booking, send};

fn post(server: &Server, key: &str) -> RequestBuilder {
    server.write("POST", "/bookings", key, &booking("Ann"))
}

// proves: failures-free-key, panic-frees-key
#[tokio::test]
async fn a_panic_gets_a_response_and_the_retry_runs() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--fault-injection"]);
    let panicked = send(post(&server, "k").header("X-Fault-Panic", "1")).await;
    panicked.problem(500);
    let retry = send(post(&server, "k")).await;
    assert_eq!(retry.status, 201);
    assert!(!retry.is_replayed());

    // Without a key the service catches the panic, not the library.
    let unprotected = server
        .request("POST", "/bookings")
        .json(&booking("Ann"))
        .header("X-Fault-Panic", "1");
    assert_eq!(send(unprotected).await.problem(500)["code"], "internal");
    assert_eq!(server.bookings().await.len(), 1);
}

// proves: running-duplicate-gets-409, mismatch-refused-while-running
#[tokio::test]
async fn a_duplicate_of_a_slow_request_is_a_conflict() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--fault-injection"]);
    let slow = post(&server, "k").header("X-Fault-Delay-Ms", "600000");
    tokio::spawn(slow.send());
    server.wait_for_log("injected a delay").await;

    let duplicate = send(post(&server, "k")).await;
    assert_eq!(duplicate.problem(409)["code"], "idempotency_in_progress");
    let seconds: u64 = duplicate.header("retry-after").unwrap().parse().unwrap();
    assert!(seconds >= 1);
    server.book("k", "Bob").await.problem(422);
    assert_eq!(server.book("another", "Ann").await.status, 201);
}

// proves: run-survives-client-leaving
#[tokio::test]
async fn a_client_that_disconnects_gets_its_response_on_retry() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--fault-injection"]);
    let slow = post(&server, "k").header("X-Fault-Delay-Ms", "2000");
    let impatient = tokio::spawn(server.by_http2(slow).send());
    server.wait_for_log("injected a delay").await;
    impatient.abort();
    server
        .wait_for_log("the client left before the response")
        .await;

    let retry = send(post(&server, "k").header("Prefer", "wait=60")).await;
    assert_eq!(retry.status, 201);
    assert!(retry.is_replayed());
    assert_eq!(server.bookings().await.len(), 1);
}

// proves: exchange-headers-ignored, handler-refusals-stored, failures-free-key
#[tokio::test]
async fn a_status_on_order_writes_nothing() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--fault-injection"]);
    let faulty = |key, status| send(post(&server, key).header("X-Fault-Status", status));
    assert_eq!(faulty("a", "503").await.problem(503)["code"], "injected");
    assert!(server.bookings().await.is_empty());

    // A 5xx is not stored, and the header field is not part of the fingerprint.
    let retry = send(post(&server, "a")).await;
    assert_eq!(retry.status, 201);
    assert!(faulty("a", "503").await.is_replayed());

    // A 4xx is stored.
    faulty("b", "409").await.problem(409);
    let retry = send(post(&server, "b")).await;
    retry.problem(409);
    assert!(retry.is_replayed());
    assert_eq!(server.bookings().await.len(), 1);
}

#[tokio::test]
async fn orders_that_make_no_sense_are_refused() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--fault-injection"]);
    let orders = [
        ("X-Fault-Delay-Ms", "soon"),
        ("X-Fault-Delay-Ms", "-1"),
        ("X-Fault-Delay-Ms", "600001"),
        ("X-Fault-Status", "200"),
        ("X-Fault-Status", "600"),
        ("X-Fault-Panic", "yes"),
        ("X-Fault-Panic", "0"),
    ];
    for (name, value) in orders {
        let refused = send(post(&server, "k").header(name, value)).await;
        let document = refused.problem(400);
        assert!(
            document["detail"].as_str().unwrap().contains(name),
            "{document}"
        );
    }
    assert_eq!(send(post(&server, "k")).await.status, 201);
}

#[tokio::test]
async fn no_failure_is_injected_without_the_option() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    let request = post(&server, "k")
        .header("X-Fault-Panic", "1")
        .header("X-Fault-Delay-Ms", "soon")
        .header("X-Fault-Status", "503");
    assert_eq!(send(request).await.status, 201);
}
