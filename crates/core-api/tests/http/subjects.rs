//! Keys and bookings belong only to the token's subject.

use std::collections::BTreeMap;

use rusqlite::Connection;
use serde_json::Value;

use crate::{
    server::{Reply, Server, booking, send},
    tokens::{Tokens, book, get},
};

/// A response without the parts that differ between two bookings.
fn shape(reply: &Reply) -> (u16, BTreeMap<String, String>) {
    let headers = reply.headers.iter().filter_map(|(name, value)| {
        let value = match name.as_str() {
            "date" => return None,
            // A second may turn between two requests.
            "idempotency-expires" | "location" => "…",
            _ => value.to_str().unwrap(),
        };
        Some((name.to_string(), value.to_owned()))
    });
    (reply.status.as_u16(), headers.collect())
}

async fn write(server: &Server, token: &str, method: &str, path: &str, key: &str) -> Reply {
    let request = server.write(method, path, key, &booking("Bob"));
    send(request.bearer_auth(token)).await
}

async fn listed(server: &Server, token: &str, query: &str) -> Vec<Value> {
    let reply = get(server, token, &format!("/bookings{query}")).await;
    serde_json::from_slice(&reply.body).unwrap()
}

// proves: principals-are-separate
#[tokio::test]
async fn a_key_of_another_subject_is_as_if_it_had_not_been_used() {
    let tokens = Tokens::new();
    let (ann, bob) = (tokens.add(&["ann"]), tokens.add(&["bob"]));
    let ann_again = tokens.add(&["ann"]);
    let server = tokens.start(&[]);
    let unused = book(&server, &bob, "unused").await;
    let first = book(&server, &ann, "k").await;
    // An equal request and, under the other key, a different one: neither a replay nor 409 nor 422.
    let equal = book(&server, &bob, "k").await;
    assert_eq!(shape(&equal), shape(&unused));
    assert_ne!(equal.json()["id"], first.json()["id"]);
    book(&server, &ann, "l").await;
    let other = write(&server, &bob, "POST", "/bookings", "l").await;
    assert_eq!(shape(&other), shape(&unused));

    for (token, expected) in [(&ann, &first), (&ann_again, &first), (&bob, &equal)] {
        let retry = book(&server, token, "k").await;
        assert!(retry.is_replayed());
        assert_eq!(retry.body, expected.body);
    }
}

// proves: bookings-belong-to-subject
#[tokio::test]
async fn a_booking_of_another_subject_is_as_if_it_were_not_there() {
    let variants: [&[&str]; 3] = [
        &[],
        &["--idempotency-store", "memory:"],
        &["--database", "memory:"],
    ];
    for arguments in variants {
        let tokens = Tokens::new();
        let (ann, bob) = (tokens.add(&["ann"]), tokens.add(&["bob"]));
        let chief = tokens.add(&["chief", "--role", "operator"]);
        let server = tokens.start(arguments);
        let first = book(&server, &ann, "1").await;
        let own = book(&server, &bob, "1").await;
        book(&server, &ann, "2").await;
        let path = first.header("location").unwrap();
        let absent = "/bookings/0198a1c8-0000-7000-8000-000000000000";

        let (theirs, none) = (
            get(&server, &bob, path).await,
            get(&server, &bob, absent).await,
        );
        assert_eq!(shape(&theirs), shape(&none));
        assert_eq!(theirs.problem(404), none.problem(404));
        for method in ["PUT", "PATCH", "DELETE"] {
            let theirs = write(&server, &bob, method, path, &format!("{method}-theirs")).await;
            let none = write(&server, &bob, method, absent, &format!("{method}-none")).await;
            assert_eq!(shape(&theirs), shape(&none), "{method}");
            assert_eq!(theirs.problem(404), none.problem(404), "{method}");
        }
        assert_eq!(get(&server, &ann, path).await.body, first.body);

        assert_eq!(listed(&server, &bob, "").await, [own.json()]);
        let page = get(&server, &ann, "/bookings?limit=1").await;
        assert!(page.header("link").is_some());
        let after = page.json()[0]["id"].as_str().unwrap().to_owned();
        let rest = listed(&server, &ann, &format!("?after={after}")).await;
        assert_eq!(rest, [first.json()]);
        assert_eq!(listed(&server, &chief, "").await.len(), 3);
        assert!(!String::from_utf8(page.body).unwrap().contains("owner"));

        let own_path = own.header("location").unwrap();
        let changed = write(&server, &bob, "PATCH", own_path, "own").await;
        assert_eq!(changed.status, 200);
        assert_eq!(get(&server, &chief, own_path).await.body, changed.body);
        let removed = write(&server, &chief, "DELETE", own_path, "own").await;
        assert_eq!(removed.status, 204);
        assert_eq!(get(&server, &bob, own_path).await.status, 404);
        assert_eq!(listed(&server, &bob, "").await.len(), 0);
        let changed = write(&server, &chief, "PATCH", path, "theirs").await;
        assert_eq!(changed.status, 200);
        assert_eq!(get(&server, &ann, path).await.body, changed.body);
    }
}

/// Tables of version 1 had no owner.
// proves: bookings-belong-to-subject
#[tokio::test]
async fn a_file_of_the_version_without_owners_is_taken_over() {
    let tokens = Tokens::new();
    let chief = tokens.add(&["chief", "--role", "operator"]);
    let mut server = Server::start(tokens.directory.path(), &[]);
    let before = server.book("k", "Ann").await;
    server.terminate();
    server.wait();
    let file = Connection::open(tokens.directory.path().join("core-api.db")).unwrap();
    file.execute_batch(
        "drop index bookings_by_owner;
         alter table bookings drop column owner;
         update bookings_schema set version = 1",
    )
    .unwrap();
    drop(file);
    for _ in 0..2 {
        let mut server = Server::start(tokens.directory.path(), &[]);
        let retry = server.book("k", "Ann").await;
        assert!(retry.is_replayed());
        assert_eq!(retry.body, before.body);
        assert_eq!(server.bookings().await, [before.json()]);
        server.terminate();
        server.wait();
    }
    let server = tokens.start(&[]);
    assert_eq!(listed(&server, &chief, "").await, [before.json()]);
}
