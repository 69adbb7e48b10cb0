//! Responses to requests that the service does not support.

use tempfile::tempdir;

use crate::server::{Server, booking, send};

// proves: no-endpoint-no-record
#[tokio::test]
async fn paths_and_methods_that_are_not_there_are_problems() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--database", "memory:"]);
    for path in ["/booking", "/bookings/", "/bookings/a/b"] {
        assert_eq!(
            server.get(path).await.problem(404)["code"],
            "route_not_found"
        );
    }
    let allowed = [
        ("/bookings", "DELETE", "GET,HEAD,OPTIONS,POST"),
        ("/bookings/a", "POST", "DELETE,GET,HEAD,OPTIONS,PATCH,PUT"),
        ("/healthz", "POST", "GET,HEAD"),
    ];
    for (path, method, expected) in allowed {
        let response = send(server.write(method, path, "k", &booking("Ann"))).await;
        response.problem(405);
        let mut methods: Vec<_> = response
            .header("allow")
            .unwrap()
            .split(',')
            .map(str::trim)
            .collect();
        methods.sort_unstable();
        assert_eq!(methods.join(","), expected);
    }
    // None of them has used the key.
    assert_eq!(server.book("k", "Ann").await.status, 201);
}

// proves: different-key-lines-refused, empty-value-malformed, malformed-optional-key-refused
#[tokio::test]
async fn a_key_that_cannot_be_used_books_nothing() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--database", "memory:"]);
    for key in ["", "a,b", "\"a", "two words"] {
        let response = server.book(key, "Ann").await;
        assert_eq!(response.problem(400)["code"], "idempotency_key_malformed");
    }
    let twice = server
        .write("POST", "/bookings", "a", &booking("Ann"))
        .header("Idempotency-Key", "b");
    send(twice).await.problem(400);
    assert!(server.bookings().await.is_empty());
}

// proves: principals-are-separate
#[tokio::test]
async fn two_callers_with_one_key_do_not_meet() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--database", "memory:"]);
    for token in ["Bearer a", "Bearer b"] {
        let request = server
            .write("POST", "/bookings", "k", &booking("Ann"))
            .header("Authorization", token);
        let response = send(request).await;
        assert_eq!(response.status, 201);
        assert!(!response.is_replayed());
    }
    assert_eq!(server.bookings().await.len(), 2);
}
