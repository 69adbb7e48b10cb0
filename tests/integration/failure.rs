//! Stores that fail, are full, or hold what cannot be read.

use std::sync::Arc;

use bytes::Bytes;
use idempotency::{
    Clock, Fingerprint, MemoryStore, OnLost, RedisStore,
    store::{Claim, ClaimRequest, IfOwner, Token},
};
use rstest_reuse::apply;
use tests::reply::Reply;
use tests::servers::redis::RedisServer;

use crate::{
    backend::{Backend, each_store, installed},
    test_server::{BOOKING, TestServer},
    time::Time,
};

// proves: store-down-nothing-runs, store-outage-fails-open
#[tokio::test]
async fn without_the_store_nothing_runs() {
    let server = TestServer::new().await;
    server.faults.claim.lose_requests(3);
    for _ in 0..3 {
        let response = Reply::to(server.booking("k")).await;
        response.assert_problem("idempotency_store_unavailable");
        assert_eq!(response.header("retry-after"), Some("1"));
    }
    assert_eq!(server.probe.runs(), 0);
    Reply::to(server.booking("k")).await.assert_fresh(201);
}

// proves: store-down-nothing-runs, own-claim-unrecognised
#[apply(each_store)]
#[tokio::test]
async fn a_claim_whose_reply_was_lost_is_withdrawn(backend: Backend) {
    let server = installed!(TestServer::on(backend).await);
    server.faults.claim.lose_replies(1);
    let response = Reply::to(server.booking("k")).await;
    response.assert_problem("idempotency_store_unavailable");
    let again = Reply::to(server.booking("k").header("prefer", "wait=60")).await;
    again.assert_fresh(201);
    assert_eq!(server.probe.runs(), 1);
}

// proves: failed-completion-keeps-key, failed-completion-frees-key
#[tokio::test]
async fn a_completion_that_fails_is_tried_again_before_the_client_hears() {
    let server = TestServer::new().await;
    server.faults.complete.lose_requests(2);
    let first = Reply::to(server.booking("k")).await;
    first.assert_fresh(201);
    assert!(first.header("idempotency-expires").is_some());
    Reply::to(server.booking("k")).await.assert_replays(&first);
    assert_eq!(
        (
            server.faults.complete.calls(),
            server.faults.release.calls()
        ),
        (3, 0)
    );
}

// proves: failed-completion-keeps-key, own-claim-unrecognised, failed-completion-frees-key
#[apply(each_store)]
#[tokio::test]
async fn a_completion_whose_reply_was_lost_is_recognised(backend: Backend) {
    let server = installed!(TestServer::on(backend).await);
    server.faults.complete.lose_replies(1);
    let first = Reply::to(server.booking("k")).await;
    first.assert_fresh(201);
    Reply::to(server.booking("k")).await.assert_replays(&first);
}

// proves: failed-completion-keeps-key, failed-completion-frees-key
#[tokio::test]
async fn a_client_gets_its_response_though_the_store_is_down_and_the_key_stays_taken() {
    let server = TestServer::new().await;
    server.faults.complete.lose_requests(4);
    let first = Reply::to(server.booking("k")).await;
    first.assert_fresh(201);
    assert_eq!(first.header("idempotency-expires"), None);
    assert_eq!(server.faults.release.calls(), 0);
    // The fifth try succeeds.
    let again = Reply::to(server.booking("k").header("prefer", "wait=60")).await;
    assert!(again.is_replay());
    assert_eq!(again.body, first.body);
    assert_eq!(server.probe.runs(), 1);
}

// proves: failures-free-key, failed-completion-keeps-key, crash-locks-for-ttl
#[tokio::test]
async fn a_release_that_fails_is_tried_until_the_key_is_free() {
    let server = TestServer::new().await;
    let request = || server.post("/script", "k", r#"{"status":500,"body":"{run}"}"#);
    server.faults.release.lose_requests(4);
    let first = Reply::to(request()).await;
    first.assert_fresh(500);
    // The fifth try succeeds, long before the lease would have expired.
    let again = Reply::to(request().header("prefer", "wait=60")).await;
    again.assert_fresh(500);
    assert_eq!(again.text(), "2");
}

// proves: stored-before-sent
#[tokio::test]
async fn the_response_is_stored_before_it_is_sent() {
    let server = TestServer::new().await;
    server.faults.complete.stop_replies(1);
    let first = server.send(server.booking("k"));
    server.faults.complete.stopped().await;
    // The response is stored and can be replayed, while the first client still waits.
    let other = Reply::to(server.booking("k")).await;
    assert!(other.is_replay());
    assert!(!first.is_finished());
    server.faults.complete.open();
    let first = first.await.expect("a response");
    first.assert_fresh(201);
    other.assert_replays(&first);
}

// proves: other-version-is-error, damaged-record-frees-key
#[tokio::test]
async fn an_outcome_that_cannot_be_read_is_an_error_and_nothing_runs() {
    for outcome in [
        b"".as_slice(),
        b"\x01",
        b"\x09\x01\x00\xc8\x00\x00",
        b"\x01\x01\x00\xc8\x00\x05x",
        b"\x01\x07",
    ] {
        let server = TestServer::new().await;
        Reply::to(server.booking("k")).await.assert_fresh(201);
        let (mut hold, fingerprint) = server.only_record().await;
        server.pass(3660);
        hold.token = Token::random();
        let store = server.idempotency.store();
        assert_eq!(
            store
                .claim(ClaimRequest::new(&hold, &fingerprint, OnLost::TakeOver))
                .await
                .expect("a claim"),
            Claim::won(1, Bytes::new())
        );
        let completed = store.complete(&hold, Bytes::copy_from_slice(outcome)).await;
        assert!(matches!(completed, Ok(IfOwner::Done(_))));
        let response = Reply::to(server.booking("k")).await;
        response.assert_problem("idempotency_store_unavailable");
        assert_eq!(server.probe.runs(), 1, "{outcome:?}");
    }
}

// proves: custom-versioned-fingerprint, other-version-is-error, upgrade-changes-key-derivation
#[tokio::test]
async fn a_fingerprint_of_another_version_is_not_compared_and_nothing_runs() {
    let server = TestServer::new().await;
    Reply::to(server.booking("k")).await.assert_fresh(201);
    let (mut hold, fingerprint) = server.only_record().await;
    server.pass(3660);
    hold.token = Token::random();
    let mut newer = *fingerprint.as_bytes();
    newer[0] += 1;
    let store = server.idempotency.store();
    store
        .claim(ClaimRequest::new(
            &hold,
            &Fingerprint::from_bytes(newer),
            OnLost::TakeOver,
        ))
        .await
        .expect("a claim");
    let response = Reply::to(server.booking("k")).await;
    response.assert_problem("idempotency_key_incomparable");
    assert_eq!(server.probe.runs(), 1);
}

// proves: full-store-forgets-none, memory-limit-drops-records, anonymous-fills-store
// proves: cap-drops-live-key
#[tokio::test]
async fn a_full_store_refuses_new_keys_and_forgets_none() {
    let clock = Clock::manual();
    let store = MemoryStore::new()
        .with_limit_bytes(2500)
        .with_clock(clock.clone());
    let server = TestServer::over(Arc::new(store), Time::by_hand(clock)).await;
    let mut stored = Vec::new();
    let refused = loop {
        let key = stored.len().to_string();
        let response = Reply::to(server.booking(&key)).await;
        if response.status() != "201 Created" {
            break response;
        }
        stored.push(response);
        assert!(stored.len() < 100, "no store of 2500 bytes holds that much");
    };
    refused.assert_problem("idempotency_store_full");
    assert!(stored.len() > 1);
    for (key, first) in stored.iter().enumerate() {
        Reply::to(server.booking(&key.to_string()))
            .await
            .assert_replays(first);
    }
    assert_eq!(server.probe.runs(), stored.len());
    server.pass(3660);
    server
        .idempotency
        .store()
        .purge_expired(100)
        .await
        .expect("a sweep");
    Reply::to(server.booking("new")).await.assert_fresh(201);
}

// proves: full-store-forgets-none, memory-limit-drops-records, anonymous-fills-store
#[tokio::test]
async fn a_full_redis_refuses_new_keys_and_keeps_its_word_for_those_it_has() {
    let server = installed!(RedisServer::start(&[]));
    let limit = |bytes: &str| {
        let set: String = redis::cmd("CONFIG")
            .arg(["SET", "maxmemory", bytes].as_slice())
            .query(&mut server.connection())
            .expect("the limit");
        assert_eq!(set, "OK");
    };
    let store = RedisStore::connect(&server.url()).await.expect("a store");
    let time = Time::of_a_server(Box::new(|_| unreachable!("no time is sent ahead")));
    let server = TestServer::over(Arc::new(store), time).await;
    let stored = Reply::to(server.booking("stored")).await;
    stored.assert_fresh(201);
    let running = server.send(server.post("/stop", "running", BOOKING));
    server.probe.started().await;
    limit("1");
    Reply::to(server.booking("new"))
        .await
        .assert_problem("idempotency_store_full");
    Reply::to(server.booking("stored"))
        .await
        .assert_replays(&stored);
    server.probe.proceed();
    let running = running.await.expect("a response");
    running.assert_fresh(201);
    Reply::to(server.post("/stop", "running", BOOKING))
        .await
        .assert_replays(&running);
    limit("0");
    Reply::to(server.booking("new")).await.assert_fresh(201);
}
