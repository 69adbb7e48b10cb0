//! The outcomes of runs whose handler commits, and of those whose handler does not.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use idempotency::{
    MemoryStore,
    store::{ListRequest, Phase},
};
use rstest_reuse::apply;

use super::{Kind, Service, TransactionalApp, each_database, service::LASTING};

// proves: rows-and-key-commit-together, stored-before-sent
#[apply(each_database)]
#[case::sqlx_0_8(Kind::SQLX_0_8)]
#[tokio::test]
async fn the_booking_the_key_and_the_response_are_one_commit(#[case] kind: Kind) {
    let Some(app) = TransactionalApp::new(kind).await else {
        return;
    };
    let service = app.service().await;

    let first = service.send("/book/now", "k", "Ann").await;
    first.assert_fresh(201);
    assert_eq!(first.text(), "Ann has a room");
    let record = service.record("k").await.expect("a record");
    assert!(
        matches!(record.phase, Phase::Completed { .. }),
        "{record:?}"
    );
    assert_eq!(record.attempt, 1);

    for _ in 0..2 {
        let replay = service.send("/book/now", "k", "Ann").await;
        assert!(replay.is_replay());
        assert_eq!(
            (replay.status.as_u16(), replay.body),
            (201, first.body.clone())
        );
    }
    assert_eq!(service.runs(), 1);
    assert_eq!(app.guests().await, ["Ann"]);
    assert_eq!(service.send("/book/now", "k", "Ben").await.status, 422);
}

// proves: failures-free-key, rows-and-key-commit-together
#[apply(each_database)]
#[tokio::test]
async fn a_handler_that_fails_leaves_nothing(#[case] kind: Kind) {
    let Some(app) = TransactionalApp::new(kind).await else {
        return;
    };
    let service = app.service().await;
    for _ in 0..2 {
        assert_eq!(service.send("/book/fail", "k", "Ann").await.status, 500);
        assert!(service.record("k").await.is_none());
    }
    assert_eq!(service.runs(), 2);
    assert_eq!(service.send("/book/now", "k2", "Ann").await.status, 201);
}

/// A commit that fails is rolled back as a whole, and the key is free.
// proves: rows-and-key-commit-together
#[apply(each_database)]
#[tokio::test]
async fn a_transaction_that_fails_leaves_nothing(#[case] kind: Kind) {
    let Some(app) = TransactionalApp::new(kind).await else {
        return;
    };
    let service = app.service().await;
    assert_eq!(service.send("/book/now", "k", "Ann").await.status, 201);

    let failed = service.send("/book/now", "k2", "Ann").await;
    assert_eq!(failed.status, 503, "{failed:?}");
    assert!(failed.text().contains("commit_failed"), "{failed:?}");
    assert!(service.record("k2").await.is_none());
    assert_eq!(service.send("/book/now", "k2", "Ben").await.status, 201);
    assert_eq!(app.guests().await, ["Ann", "Ben"]);
}

/// A success that the transaction has not stored is not sent.
// proves: failure-after-effect-reruns
#[apply(each_database)]
#[tokio::test]
async fn a_handler_that_forgets_to_commit_gets_an_error_that_says_so(#[case] kind: Kind) {
    let Some(app) = TransactionalApp::new(kind).await else {
        return;
    };
    let service = app.service().await;
    for _ in 0..2 {
        let response = service.send("/book/forget", "k", "Ann").await;
        assert_eq!(response.status, 500);
        assert!(response.text().contains("execution.commit"), "{response:?}");
        assert!(service.record("k").await.is_none());
    }
    assert_eq!(service.runs(), 2);
    // Except a response that is marked `Disposition::Release`.
    let nothing = service.send("/book/do-nothing", "k", "Ann").await;
    nothing.assert_fresh(201);
    assert!(service.record("k").await.is_none());
}

// proves: handler-refusals-stored
#[apply(each_database)]
#[tokio::test]
async fn a_refusal_of_the_handler_is_stored_by_itself(#[case] kind: Kind) {
    let Some(app) = TransactionalApp::new(kind).await else {
        return;
    };
    let service = app.service().await;
    let first = service.send("/book/refuse", "k", "Ann").await;
    first.assert_fresh(409);
    let replay = service.send("/book/refuse", "k", "Ann").await;
    replay.assert_replay(409);
    assert_eq!((replay.text(), service.runs()), ("no room", 1));
}

/// The committed response is sent, whatever the handler returns or does afterwards.
// proves: stored-before-sent, failure-after-effect-reruns
#[apply(each_database)]
#[tokio::test]
async fn the_committed_response_is_the_one_that_is_sent(#[case] kind: Kind) {
    let Some(app) = TransactionalApp::new(kind).await else {
        return;
    };
    let service = app.service().await;
    for (what, guest) in [("hide", "Ann"), ("panic", "Ben"), ("twice", "Cid")] {
        let path = &format!("/book/{what}");
        let first = service.send(path, what, guest).await;
        assert_eq!(
            (first.status.as_u16(), first.is_replay()),
            (201, false),
            "{path}: {first:?}"
        );
        assert_eq!(first.body, format!("{guest} has a room"));
        let replay = service.send(path, what, guest).await;
        assert_eq!(
            (replay.status.as_u16(), replay.is_replay()),
            (201, true),
            "{path}"
        );
        assert_eq!(replay.body, first.body);
    }
    assert_eq!(app.guests().await, ["Ann", "Ben", "Cid"]);
    assert_eq!(service.runs(), 3);
}

/// In each way in which a run ends: by its transaction, under a lease, in another database, and without a commit.
// proves: response-sets-own-ttl
#[apply(each_database)]
#[tokio::test]
async fn a_committed_response_is_replayed_for_its_own_ttl(#[case] kind: Kind) {
    let Some(app) = TransactionalApp::new(kind).await else {
        return;
    };
    let here = app.service().await;
    let elsewhere = Service::start(app.database.clone(), Arc::new(MemoryStore::new())).await;
    for (service, path) in [
        (&here, "/book/lasting"),
        (&here, "/leased/lasting"),
        (&here, "/book/refuse-lastingly"),
        (&elsewhere, "/leased/lasting"),
    ] {
        let before = SystemTime::now();
        let key = uuid::Uuid::new_v4().to_string();
        let first = service.send(path, &key, &key).await;
        assert!(!first.status.is_server_error(), "{path}: {first:?}");
        let record = service.record(&key).await.expect("a record");
        let kept = record.expires_at.duration_since(before).expect("a ttl");
        // A minute longer than it is announced, because the handler's own ttl is an hour.
        let announced = kept.saturating_sub(Duration::from_secs(60));
        assert!(
            announced < LASTING + Duration::from_secs(60),
            "{path}: {kept:?}"
        );
        assert!(
            announced + Duration::from_secs(60) > LASTING,
            "{path}: {kept:?}"
        );
        let told = httpdate::fmt_http_date(record.expires_at - Duration::from_secs(60));
        assert_eq!(
            first.header("idempotency-expires"),
            Some(told.as_str()),
            "{path}"
        );
        let replay = service.send(path, &key, &key).await;
        replay.assert_replays(&first);
    }
}

// proves: keyless-request-passes
#[apply(each_database)]
#[tokio::test]
async fn without_a_key_every_request_commits(#[case] kind: Kind) {
    let Some(app) = TransactionalApp::new(kind).await else {
        return;
    };
    let service = app.service().await;
    for guest in ["Ann", "Ben"] {
        let request = service.client.post(format!("{}/book/now", service.address));
        let response = request.body(guest).send().await.expect("a response");
        assert_eq!(response.status(), 201);
    }
    assert_eq!(app.guests().await, ["Ann", "Ben"]);
    let records = service
        .idempotency
        .store()
        .list(&ListRequest::new(10))
        .await;
    assert!(records.expect("a list").is_empty());
}

/// A store in another database cannot take part in the transaction, so the run is refused.
#[apply(each_database)]
#[tokio::test]
async fn a_store_elsewhere_is_refused(#[case] kind: Kind) {
    let Some(app) = TransactionalApp::new(kind).await else {
        return;
    };
    let service = Service::start(app.database.clone(), Arc::new(MemoryStore::new())).await;
    let response = service.send("/book/now", "k", "Ann").await;
    assert_eq!(response.status, 500);
    assert!(
        response
            .text()
            .contains("in the database of its transactions"),
        "{response:?}"
    );
    assert_eq!(app.guests().await, [""; 0]);
}
