//! The routes of the page at `/`.

use serde_json::{Value, json};
use tempfile::tempdir;

use crate::{
    openapi::MEMORY,
    server::{Server, send},
    tokens::{Tokens, book, get},
};

const FILES: [(&str, &str); 7] = [
    ("/", "text/html; charset=utf-8"),
    ("/page/page.css", "text/css; charset=utf-8"),
    ("/page/page.js", "text/javascript; charset=utf-8"),
    ("/page/attempt.js", "text/javascript; charset=utf-8"),
    ("/page/dom.js", "text/javascript; charset=utf-8"),
    ("/page/live.js", "text/javascript; charset=utf-8"),
    ("/page/timeline.js", "text/javascript; charset=utf-8"),
];

// proves: bearer-token-required
#[tokio::test]
async fn the_page_runs_nothing_from_elsewhere_and_needs_no_token() {
    let tokens = Tokens::new();
    tokens.add(&["ann"]);
    let server = tokens.start(&["--database", "memory:", "--protect-health"]);
    for (path, content_type) in FILES {
        let reply = server.get(path).await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("content-type")),
            (200, Some(content_type)),
            "{path}"
        );
        let policy = reply.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none';") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        let head = send(server.request("HEAD", path)).await;
        assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
        assert_eq!(
            head.header("content-length"),
            Some(&*reply.body.len().to_string())
        );
        let text = String::from_utf8(reply.body).unwrap();
        for forbidden in [
            "://",
            "innerHTML",
            "localStorage",
            "sessionStorage",
            " style=",
        ] {
            assert!(!text.contains(forbidden), "{path}: {forbidden}");
        }
    }
    assert_eq!(
        server.get("/page/service").await.json()["needs_token"],
        true
    );
    server.get("/page/page.rs").await.problem(404);
    server.get("/page/../page.rs").await.problem(404);
    send(server.request("POST", "/")).await.problem(405);
}

// proves: key-state-shown, principals-are-separate
#[tokio::test]
async fn its_table_of_keys_shows_each_caller_what_it_may_see() {
    let tokens = Tokens::new();
    let (ann, bob) = (tokens.add(&["ann"]), tokens.add(&["bob"]));
    let operator = tokens.add(&["root", "--role", "operator"]);
    let server = tokens.start(&["--database", "memory:"]);
    for (token, key) in [(&ann, "k"), (&ann, "l"), (&bob, "k")] {
        assert_eq!(book(&server, token, key).await.status, 201);
    }
    server.get("/page/keys").await.problem(401);
    for (token, count) in [(&ann, 2), (&bob, 1), (&operator, 3)] {
        let table = get(&server, token, "/page/keys").await;
        assert_eq!(table.header("cache-control"), Some("no-store"));
        let table = table.json();
        assert_eq!(table["keys"].as_array().unwrap().len(), count);
        assert_eq!(
            (&table["count"], &table["has_more"]),
            (&json!(count), &json!(false))
        );
    }

    // An open service shows all of them to every visitor, as it does bookings, and lets no visitor change one.
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &MEMORY);
    for number in 0..30 {
        server.book(&number.to_string(), "Ann").await;
    }
    let table = server.get("/page/keys").await.json();
    assert_eq!(table["count"], 30);
    let keys = table["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 20);
    let dates: Vec<_> = keys.iter().map(|key| key["created_at"].as_str()).collect();
    assert!(dates.is_sorted_by(|one, next| one >= next), "{dates:?}");
    for member in ["phase", "attempt", "age_seconds", "expires_at"] {
        assert_ne!(keys[0][member], Value::Null, "{member}");
    }
    send(server.request("POST", "/page/keys"))
        .await
        .problem(405);
}

#[tokio::test]
async fn the_page_knows_what_can_be_broken_and_what_a_crash_loses() {
    let facts = async |arguments: &[&str]| {
        let directory = tempdir().unwrap();
        let server = Server::start(directory.path(), arguments);
        let reply = server.get("/page/service").await;
        let fact = |name: &str| reply.json()[name].as_bool().unwrap();
        [
            "fault_injection",
            "can_crash",
            "one_commit",
            "bookings_survive",
            "keys_survive",
        ]
        .map(fact)
    };
    assert_eq!(facts(&[]).await, [false, false, true, true, true]);
    assert_eq!(
        facts(&["--fault-injection"]).await,
        [true, true, true, true, true]
    );
    assert_eq!(
        facts(&["--fault-injection", "--no-supervisor"]).await,
        [true, false, true, true, true]
    );
    assert_eq!(
        facts(&["--idempotency-store", "memory:"]).await,
        [false, false, false, true, false]
    );
    assert_eq!(facts(&MEMORY).await, [false, false, false, false, false]);
}
