//! README's example, in both databases.

use tempfile::tempdir;

use crate::server::Server;

const KEY: &str = "8e03978e-40d5-43e8-bc93-6894a57f9324";

async fn tell(server: &Server) {
    let first = server.book(KEY, "Ann").await;
    assert_eq!(first.status, 201);
    assert!(!first.is_replayed());
    let shown = first.json();
    let path = format!("/bookings/{}", shown["id"].as_str().unwrap());
    assert_eq!(first.header("location"), Some(path.as_str()));
    assert_eq!(server.get(&path).await.body, first.body);

    let retry = server.book(KEY, "Ann").await;
    assert_eq!(retry.status, 201);
    assert!(retry.is_replayed());
    assert_eq!(retry.body, first.body);
    assert_eq!(retry.header("location"), Some(path.as_str()));

    let other = server.book(KEY, "Bob").await;
    assert_eq!(other.problem(422)["code"], "idempotency_key_reused");
    assert!(!other.is_replayed());
    assert_eq!(server.bookings().await, [shown]);
}

// proves: quoted-key-accepted, bare-key-equals-quoted, other-body-refused, first-response-unmarked
// proves: replay-keeps-status, replay-keeps-body, only-replays-marked
#[tokio::test]
async fn a_retry_gets_the_first_response_and_books_once() {
    let directory = tempdir().unwrap();
    tell(&Server::start(directory.path(), &[])).await;
    tell(&Server::start(directory.path(), &["--database", "memory:"])).await;
}

// proves: replay-keeps-body, stored-before-sent
#[tokio::test]
async fn a_file_remembers_over_kill_minus_nine() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    let first = server.book(KEY, "Ann").await;
    server.kill();

    let server = Server::start(directory.path(), &[]);
    let retry = server.book(KEY, "Ann").await;
    assert_eq!(retry.status, 201);
    assert!(retry.is_replayed());
    assert_eq!(retry.body, first.body);
    assert_eq!(server.bookings().await.len(), 1);
}

#[tokio::test]
async fn keys_can_have_a_file_of_their_own() {
    let directory = tempdir().unwrap();
    let keys_apart = [
        "--database",
        "memory:",
        "--idempotency-store",
        "sqlite:keys.db",
    ];
    let server = Server::start(directory.path(), &keys_apart);
    let first = server.book(KEY, "Ann").await;
    server.kill();
    assert!(directory.path().join("keys.db").exists());
    assert!(!directory.path().join("core-api.db").exists());

    // The bookings are lost, but the key is not.
    let server = Server::start(directory.path(), &keys_apart);
    let retry = server.book(KEY, "Ann").await;
    assert!(retry.is_replayed());
    assert_eq!(retry.body, first.body);
    assert!(server.bookings().await.is_empty());
}

#[tokio::test]
async fn the_bookings_own_file_may_be_named_for_the_keys_too() {
    let directory = tempdir().unwrap();
    let server = Server::start(
        directory.path(),
        &["--idempotency-store", "sqlite:core-api.db"],
    );
    tell(&server).await;
}
