//! PUT, PATCH and DELETE, which are as safe to retry as POST.

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::server::{Reply, Server, booking, send};

async fn created(server: &Server) -> String {
    let response = server.book("create", "Ann").await;
    response.header("location").unwrap().to_owned()
}

async fn delete(server: &Server, path: &str, key: &str) -> Reply {
    send(
        server
            .request("DELETE", path)
            .header("Idempotency-Key", key),
    )
    .await
}

#[track_caller]
fn assert_differs(after: &Value, before: &Value, members: &Value) {
    let mut expected = before.clone();
    for (name, value) in members.as_object().unwrap() {
        expected[name] = value.clone();
    }
    assert_eq!(*after, expected);
}

// proves: post-and-patch-protected, put-delete-by-attribute
#[tokio::test]
async fn put_patch_and_delete_replay_their_responses() {
    let directory = tempdir().unwrap();
    for database in ["sqlite:bookings.db", "memory:"] {
        let server = Server::start(directory.path(), &["--database", database]);
        let path = created(&server).await;
        let before = server.get(&path).await.json();

        let new = json!({"service_id": "s2", "customer_name": "Bob", "date": "2027-01-31", "time": "23:59"});
        let put = send(server.write("PUT", &path, "put", &new)).await;
        assert_eq!(put.status, 200);
        assert_differs(&put.json(), &before, &new);

        let change = json!({"status": "cancelled", "time": "08:00"});
        let patched = send(server.write("PATCH", &path, "patch", &change)).await;
        assert_eq!(patched.status, 200);
        assert_differs(&patched.json(), &put.json(), &change);
        assert_eq!(server.get(&path).await.body, patched.body);

        let again = send(server.write("PUT", &path, "put", &new)).await;
        assert!(again.is_replayed());
        assert_eq!(again.body, put.body);
        assert_eq!(
            server.get(&path).await.body,
            patched.body,
            "the retry wrote"
        );

        let deleted = delete(&server, &path, "delete").await;
        assert_eq!(deleted.status, 204);
        server.get(&path).await.problem(404);
        let again = delete(&server, &path, "delete").await;
        assert_eq!(again.status, 204);
        assert!(again.is_replayed());
        delete(&server, &path, "another").await.problem(404);
    }
}

/// Sends a write and asserts that its response promises replays for this long.
async fn assert_replayed_for(ttl: TimeDelta, request: RequestBuilder) -> Reply {
    let before = Utc::now();
    let response = send(request).await;
    let after = Utc::now();
    assert!(response.status.is_success(), "{response:?}");
    let expires = response.header("idempotency-expires").expect("a date");
    let expires = DateTime::parse_from_rfc2822(expires).expect("an HTTP date");
    // The date has whole seconds.
    assert!(
        expires + TimeDelta::seconds(1) > before + ttl,
        "{response:?}"
    );
    assert!(expires <= after + ttl, "{response:?}");
    response
}

// proves: replayed-until-ttl
#[tokio::test]
async fn a_new_booking_is_replayed_for_an_hour_and_every_other_write_for_a_day() {
    let directory = tempdir().unwrap();
    for database in ["sqlite:bookings.db", "memory:"] {
        let server = Server::start(directory.path(), &["--database", database]);
        let post = server.write("POST", "/bookings", "post", &booking("Ann"));
        let created = assert_replayed_for(TimeDelta::hours(1), post).await;
        let path = created.header("location").unwrap();
        for request in [
            server.write("PUT", path, "put", &booking("Bob")),
            server.write("PATCH", path, "patch", &json!({"time": "11:00"})),
            server
                .request("DELETE", path)
                .header("Idempotency-Key", "delete"),
        ] {
            assert_replayed_for(TimeDelta::days(1), request).await;
        }
    }
}

// proves: replay-shows-past-state
#[tokio::test]
async fn a_replay_shows_the_booking_as_it_was() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    let first = server.book("k", "Ann").await;
    let path = first.header("location").unwrap();

    send(server.write("PATCH", path, "p", &json!({"customer_name": "Bea"}))).await;
    assert_eq!(server.book("k", "Ann").await.body, first.body);
    assert_eq!(delete(&server, path, "d").await.status, 204);
    let retry = server.book("k", "Ann").await;
    assert!(retry.is_replayed());
    assert_eq!(retry.body, first.body);
    assert!(server.bookings().await.is_empty());
}

// proves: other-method-or-path-refused, path-counts-as-sent
#[tokio::test]
async fn a_key_is_for_one_method_and_one_path() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--database", "memory:"]);
    let path = created(&server).await;
    let reused = send(server.write("PUT", &path, "create", &booking("Ann"))).await;
    assert_eq!(reused.problem(422)["code"], "idempotency_key_reused");

    assert_eq!(delete(&server, &path, "d").await.status, 204);
    let elsewhere = "/bookings/01890000-0000-7000-8000-000000000000";
    let reused = delete(&server, elsewhere, "d").await;
    assert_eq!(reused.problem(422)["code"], "idempotency_key_reused");
}

/// Otherwise a client could fill the store with keys for bookings that do not exist.
// proves: handler-refusals-stored, scope-share-limited
#[tokio::test]
async fn a_booking_that_is_not_there_leaves_no_record() {
    let directory = tempdir().unwrap();
    for database in ["sqlite:bookings.db", "memory:"] {
        let server = Server::start(directory.path(), &["--database", database]);
        let path = "/bookings/01890000-0000-7000-8000-000000000000";
        let writes = [
            ("PUT", booking("Ann")),
            ("PATCH", json!({"time": "11:00"})),
            ("DELETE", json!({})),
        ];
        for (method, body) in writes {
            let first = send(server.write(method, path, method, &body)).await;
            assert_eq!(first.problem(404)["code"], "booking_not_found");
            assert!(!first.is_replayed());
            let retry = send(server.write(method, path, method, &body)).await;
            assert!(!retry.is_replayed(), "{database} {method}");
            assert_eq!(retry.problem(404)["code"], "booking_not_found");
        }
        for path in ["/bookings/7", "/bookings/not-an-id", path] {
            server.get(path).await.problem(404);
        }
    }
}
