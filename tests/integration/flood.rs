//! One caller sends more new keys than the store can hold.

use std::sync::Arc;

use idempotency::{Clock, MemoryStore, SqliteStore, Store};
use reqwest::{Method, RequestBuilder};
use tests::reply::Reply;

use crate::{test_server::TestServer, time::Time};

const LIMIT: usize = 30_000;

/// Floods with anonymous deletions until one is refused.
async fn flooded(server: &TestServer) -> (Vec<Reply>, Reply) {
    let mut stored = Vec::new();
    loop {
        let response = Reply::to(deletion(server, stored.len())).await;
        if response.status() == "429 Too Many Requests" {
            return (stored, response);
        }
        response.assert_fresh(201);
        stored.push(response);
        assert!(stored.len() < LIMIT / 400, "a caller is refused in the end");
    }
}

fn deletion(server: &TestServer, number: usize) -> RequestBuilder {
    server
        .request(Method::DELETE, "/bookings")
        .header("idempotency-key", number.to_string())
        .header("content-type", "application/json")
        .body("{}")
}

fn booking(server: &TestServer, token: &str, key: &str) -> RequestBuilder {
    server
        .post("/accounts/bookings", key, "{}")
        .header("authorization", format!("Bearer {token}"))
}

async fn one_floods_and_others_book(store: Arc<dyn Store>, clock: Clock) {
    let server = TestServer::over(store, Time::by_hand(clock)).await;
    let (stored, refused) = flooded(&server).await;
    refused.assert_problem("idempotency_too_many_keys");
    assert_eq!(refused.header("retry-after"), Some("30"));
    let runs = server.probe.runs();
    assert_eq!(runs, stored.len());
    assert_eq!(server.records().await, stored.len());
    // However often the refused request is sent, it leaves no record, and completed requests are still replayed.
    Reply::to(deletion(&server, stored.len()))
        .await
        .assert_problem("idempotency_too_many_keys");
    for (number, first) in stored.iter().enumerate().take(3) {
        Reply::to(deletion(&server, number))
            .await
            .assert_replays(first);
    }
    assert_eq!(server.probe.runs(), runs);
    for (token, key) in [("ann-1", "k"), ("bob-1", "k"), ("ann-2", "l")] {
        Reply::to(booking(&server, token, key))
            .await
            .assert_fresh(201);
    }

    server.pass(3660);
    let store = server.idempotency.store();
    store.purge_expired(1000).await.expect("a sweep");
    Reply::to(deletion(&server, stored.len()))
        .await
        .assert_fresh(201);
}

// proves: full-store-forgets-none, scope-share-limited, memory-limit-drops-records
#[tokio::test]
async fn a_caller_that_floods_memory_is_told_so_while_others_book() {
    let clock = Clock::manual();
    let store = MemoryStore::new()
        .with_limit_bytes(LIMIT)
        .with_clock(clock.clone());
    one_floods_and_others_book(Arc::new(store), clock).await;
}

// proves: full-store-forgets-none, scope-share-limited, memory-limit-drops-records
#[tokio::test]
async fn a_caller_that_floods_a_file_is_told_so_while_others_book() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Clock::manual();
    let store = SqliteStore::open(folder.path().join("keys.db")).expect("a store");
    let store = store.with_limit_bytes(LIMIT).with_clock(clock.clone());
    one_floods_and_others_book(Arc::new(store), clock).await;
}
