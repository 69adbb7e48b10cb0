//! The rules for bodies, and what happens to the key of a body that breaks them.

use serde_json::{Value, json};
use tempfile::tempdir;

use crate::server::{Reply, Server, booking, send};

fn wrong_fields(response: &Reply) -> Vec<String> {
    let document = response.problem(422);
    let errors = document["errors"].as_array().unwrap();
    for error in errors {
        assert!(
            error["detail"]
                .as_str()
                .is_some_and(|detail| !detail.is_empty())
        );
    }
    errors
        .iter()
        .map(|error| error["field"].as_str().unwrap().to_owned())
        .collect()
}

// proves: extractor-refusals-free-key
#[tokio::test]
async fn one_response_lists_every_wrong_field_and_leaves_the_key_usable() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    let wrong = json!({"customer_name": "  ", "date": "2025-02-30", "time": 10, "service_id": ""});
    let refused = send(server.write("POST", "/bookings", "k", &wrong)).await;
    assert_eq!(
        wrong_fields(&refused),
        ["service_id", "customer_name", "date", "time"]
    );
    let missing = send(server.write("POST", "/bookings", "k", &json!({}))).await;
    assert_eq!(
        wrong_fields(&missing),
        ["service_id", "customer_name", "date", "time"]
    );

    let corrected = server.book("k", "Ann").await;
    assert_eq!(corrected.status, 201);
    assert!(!corrected.is_replayed());
    assert!(server.book("k", "Ann").await.is_replayed());
    assert_eq!(server.bookings().await.len(), 1);
}

// proves: extractor-refusals-free-key
#[tokio::test]
async fn changes_are_checked_as_new_bookings_are() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--database", "memory:"]);
    let first = server.book("k", "Ann").await;
    let path = first.header("location").unwrap();

    let put = send(server.write("PUT", path, "put", &json!({"time": "24:00"}))).await;
    assert_eq!(
        wrong_fields(&put),
        ["service_id", "customer_name", "date", "time"]
    );
    let patch = json!({"status": "gone", "date": "2026-11-31"});
    let patch = send(server.write("PATCH", path, "patch", &patch)).await;
    assert_eq!(wrong_fields(&patch), ["date", "status"]);
    let nothing = send(server.write("PATCH", path, "patch", &json!({"note": 1}))).await;
    assert_eq!(wrong_fields(&nothing).len(), 5);
    assert_eq!(server.get(path).await.body, first.body);

    let corrected =
        send(server.write("PATCH", path, "patch", &json!({"date": "2026-11-30"}))).await;
    assert_eq!(corrected.json()["date"], "2026-11-30");
}

// proves: extractor-refusals-free-key
#[tokio::test]
async fn a_body_that_cannot_be_read_leaves_the_key_usable() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--database", "memory:"]);
    let post = |content_type: &'static str, body: &'static str| {
        let request = server
            .request("POST", "/bookings")
            .header("Idempotency-Key", "k")
            .header("Content-Type", content_type);
        send(request.body(body))
    };
    post("application/json", "{\"service_id\":")
        .await
        .problem(400);
    post("application/json", "[]").await.problem(400);
    post("text/plain", "{}").await.problem(415);
    let without_type = server.request("POST", "/bookings").body("{}");
    send(without_type).await.problem(415);
    let charset = "Application/JSON; charset=utf-8";
    let body = serde_json::to_string(&booking("Ann")).unwrap();
    let accepted = server
        .request("POST", "/bookings")
        .header("Idempotency-Key", "k")
        .header("Content-Type", charset)
        .body(body);
    assert_eq!(send(accepted).await.status, 201);
}

// proves: oversized-body-takes-no-key
#[tokio::test]
async fn a_body_that_is_too_large_is_refused_with_and_without_a_key() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--database", "memory:"]);
    let large: Value = json!({"customer_name": "A".repeat(100_000)});
    let with_key = server.write("POST", "/bookings", "k", &large);
    send(with_key).await.problem(413);
    let without_key = server.request("POST", "/bookings").json(&large);
    send(without_key).await.problem(413);
    assert_eq!(server.book("k", "Ann").await.status, 201);
}
