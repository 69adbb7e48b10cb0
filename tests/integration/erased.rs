//! What an operator reads, erases and frees, and the responses that retries then get.

use bytes::Bytes;
use http::{StatusCode, header};
use idempotency::{
    IdempotencyKey, Scope,
    operators::{KeyChange, KeyState, StoredResponse},
    store::RecordId,
};
use tests::reply::Reply;

use crate::test_server::TestServer;

// proves: erased-response-never-runs, key-state-shown
#[tokio::test]
async fn a_retry_of_an_erased_booking_hears_so_and_books_nothing() {
    let server = TestServer::new().await;
    let id = id(&server);
    assert_eq!(state(&server).await, KeyState::Free);
    let first = Reply::to(server.booking("k")).await;
    first.assert_fresh(201);
    assert_eq!(state(&server).await, KeyState::Done);
    let StoredResponse::Kept(kept) = stored(&server).await else {
        panic!("the response is stored");
    };
    assert_eq!(kept.status(), StatusCode::CREATED);
    assert_eq!(kept.body(), first.text());
    let media_type = kept.headers().get(header::CONTENT_TYPE);
    let media_type = media_type.map(|value| value.to_str().expect("text"));
    assert_eq!(media_type, first.header("content-type"));

    for _ in 0..2 {
        let erased = server.idempotency.erase(&id).await;
        assert_eq!(erased.expect("a response"), KeyChange::Made);
        assert_eq!(state(&server).await, KeyState::Erased);
        let erased = stored(&server).await;
        assert!(matches!(erased, StoredResponse::Erased), "{erased:?}");
        let retry = Reply::to(server.booking("k")).await;
        retry.assert_problem("idempotency_response_erased");
        assert_eq!(retry.header("retry-after"), None);
        let other = Reply::to(server.post("/bookings", "k", "{}")).await;
        other.assert_problem("idempotency_key_reused");
    }
    assert_eq!(server.probe.runs(), 1);
}

// proves: freed-key-runs-again
#[tokio::test]
async fn a_retry_of_a_freed_booking_books_again() {
    let server = TestServer::new().await;
    let id = id(&server);
    Reply::to(server.booking("k")).await.assert_fresh(201);
    let asked = server.idempotency.ask_to_free(&id).await;
    let asked = asked.expect("a response").expect("a completed run");
    // The first call changes nothing.
    let retry = Reply::to(server.booking("k")).await;
    assert!(retry.is_replay(), "{retry:?}");
    let made_up = "0".repeat(32).parse().expect("a confirmation");
    let refused = server.idempotency.free(&id, &made_up).await;
    assert_eq!(refused.expect("a response"), KeyChange::Changed);
    let freed = server.idempotency.free(&id, &asked.confirmation).await;
    assert_eq!(freed.expect("a response"), KeyChange::Made);
    assert_eq!(state(&server).await, KeyState::Free);
    assert_eq!(server.records().await, 0);

    let again = Reply::to(server.booking("k")).await;
    again.assert_fresh(201);
    assert_eq!(server.probe.runs(), 2);
    Reply::to(server.booking("k")).await.assert_replays(&again);
    // The record that the operator saw no longer exists.
    let late = server.idempotency.free(&id, &asked.confirmation).await;
    assert_eq!(late.expect("a response"), KeyChange::Changed);
}

fn id(server: &TestServer) -> RecordId {
    let key = IdempotencyKey::new("k").expect("a key");
    server.idempotency.record_id(&Scope::anonymous(), &key)
}

async fn state(server: &TestServer) -> KeyState {
    let checked = server.idempotency.check(&id(server)).await;
    checked.expect("a response")
}

async fn stored(server: &TestServer) -> StoredResponse<http::Response<Bytes>> {
    let found = server.idempotency.store().inspect(&id(server)).await;
    let found = found.expect("a response").expect("a record");
    let stored = server.idempotency.stored_response(&found);
    stored.expect("a response of this version")
}
