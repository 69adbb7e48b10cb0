//! What a booking of `core-api` costs with a key, in PostgreSQL's own numbers.

use reqwest::Method;
use serde_json::json;
use sqlx::Row;
use tests::{reply::Reply, servers::postgres::PostgresServer};

use super::sql;
use crate::service::Service;

const BOOKINGS: usize = 10;

// proves: rows-and-key-commit-together
#[tokio::test]
async fn a_booking_with_a_key_is_one_commit_as_one_without() {
    // No other session may commit there.
    let Some(server) = PostgresServer::start() else {
        return;
    };
    let url = server.database().await;
    let service = Service::start(&["--database", &url]);
    assert_eq!(commits_of(&url, book(&service, None)).await, BOOKINGS);
    assert_eq!(commits_of(&url, book(&service, Some("k"))).await, BOOKINGS);

    // This shows that the count works: a separate store takes one commit for the claim, and the booking's commit completes it.
    drop(service);
    let service = Service::start(&["--database", &url, "--idempotency-store", &url]);
    let under_leases = book(&service, Some("l"));
    assert_eq!(commits_of(&url, under_leases).await, 2 * BOOKINGS);

    // A store elsewhere also takes one commit to read the hold before the booking's, and one for the completion.
    drop(service);
    let keys = server.database().await;
    let service = Service::start(&["--database", &url, "--idempotency-store", &keys]);
    let elsewhere = book(&service, Some("m"));
    assert_eq!(commits_of(&url, elsewhere).await, 4 * BOOKINGS);
    assert_eq!(service.bookings().await, 4 * BOOKINGS);
}

/// Sequential bookings, each with a key or each without.
async fn book(service: &Service, keys: Option<&str>) {
    for number in 0..BOOKINGS {
        let request = match keys {
            Some(keys) => service.booking(&format!("{keys}-{number}")),
            None => service.request(Method::POST, "/bookings").json(&json!({
                "service_id": "s1", "customer_name": "Ann", "date": "2026-12-01", "time": "10:00",
            })),
        };
        let response = Reply::to(request).await;
        response.assert_fresh(201);
    }
}

/// How many transactions have written, once this is done: each takes a number.
async fn commits_of(url: &str, work: impl Future<Output = ()>) -> usize {
    let before = next_transaction(url).await;
    work.await;
    next_transaction(url).await - before
}

async fn next_transaction(url: &str) -> usize {
    let rows = sql(url, "select pg_snapshot_xmax(pg_current_snapshot())::text").await;
    rows[0].get::<String, _>(0).parse().expect("a number")
}
