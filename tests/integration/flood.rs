//! One caller sends more new keys than the store has room for.

use std::sync::Arc;

use idempotency::{Clock, MemoryStore, SqliteStore, Store};
use reqwest::{Method, RequestBuilder};

use crate::{answer::Answer, time::Time, world::World};

const LIMIT: usize = 30_000;

/// Floods with anonymous deletions until one is refused.
async fn flooded(world: &World) -> (Vec<Answer>, Answer) {
    let mut stored = Vec::new();
    loop {
        let answer = Answer::to(deletion(world, stored.len())).await;
        if answer.status() == "429 Too Many Requests" {
            return (stored, answer);
        }
        answer.assert_fresh("201 Created");
        stored.push(answer);
        assert!(stored.len() < LIMIT / 400, "a caller is refused in the end");
    }
}

fn deletion(world: &World, number: usize) -> RequestBuilder {
    world
        .request(Method::DELETE, "/bookings")
        .header("idempotency-key", number.to_string())
        .header("content-type", "application/json")
        .body("{}")
}

fn booking(world: &World, token: &str, key: &str) -> RequestBuilder {
    world
        .post("/accounts/bookings", key, "{}")
        .header("authorization", format!("Bearer {token}"))
}

async fn one_floods_and_others_book(store: Arc<dyn Store>, clock: Clock) {
    let world = World::over(store, Time::by_hand(clock)).await;
    let (stored, refused) = flooded(&world).await;
    refused.assert_problem(
        "too-many-keys",
        "429 Too Many Requests",
        "idempotency_too_many_keys",
    );
    assert_eq!(refused.header("retry-after"), Some("30"));
    let runs = world.probe.runs();
    assert_eq!(runs, stored.len());
    assert_eq!(world.records().await, stored.len());
    // It runs and leaves nothing however often it is sent, and what was told before is told again.
    Answer::to(deletion(&world, stored.len()))
        .await
        .assert_problem(
            "too-many-keys",
            "429 Too Many Requests",
            "idempotency_too_many_keys",
        );
    for (number, first) in stored.iter().enumerate().take(3) {
        Answer::to(deletion(&world, number))
            .await
            .assert_replay_of(first);
    }
    assert_eq!(world.probe.runs(), runs);
    for (token, key) in [("ann-1", "k"), ("bob-1", "k"), ("ann-2", "l")] {
        Answer::to(booking(&world, token, key))
            .await
            .assert_fresh("201 Created");
    }

    world.pass(3660);
    let store = world.idempotency.store();
    store.purge_expired(1000).await.expect("a sweep");
    Answer::to(deletion(&world, stored.len()))
        .await
        .assert_fresh("201 Created");
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
