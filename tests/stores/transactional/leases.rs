//! Runs under a lease that commit.

use std::{sync::Arc, time::Duration};

use idempotency::{
    Clock, MemoryStore, OnLost,
    store::{Claim, ClaimRequest, Hold, IfOwner, Phase, Token},
};
use rstest_reuse::apply;

use super::{Kind, Service, TransactionalApp, each_database};

// proves: rows-and-key-commit-together
#[apply(each_database)]
#[tokio::test]
async fn a_leased_run_completes_its_hold_with_its_booking(#[case] kind: Kind) {
    let Some(app) = TransactionalApp::new(kind).await else {
        return;
    };
    let service = app.service().await;
    let first = service.sending("/leased/stop", "k", "Ann");
    service.arrived().await;
    let held = service.record("k").await.expect("a record");
    assert!(matches!(held.phase, Phase::InFlight { .. }), "{held:?}");
    service.pass();
    assert_eq!(first.await.expect("a response").status, 201);
    let kept = service.record("k").await.expect("a record");
    assert!(matches!(kept.phase, Phase::Completed { .. }), "{kept:?}");
    assert_eq!(kept.token, held.token);
    assert!(service.send("/leased/stop", "k", "Ann").await.is_replay());
    assert_eq!(app.guests().await, ["Ann"]);
}

/// The run has lost its key, so its booking is rolled back and its client gets the new owner's response.
// proves: lost-lease-stores-nothing, rows-and-key-commit-together, stale-owner-writes
// proves: run-outlives-lease
#[apply(each_database)]
#[tokio::test]
async fn a_run_that_lost_its_key_commits_nothing(#[case] kind: Kind) {
    let Some(app) = TransactionalApp::new(kind).await else {
        return;
    };
    let service = app.service().await;
    let first = service.sending("/leased/stop", "k", "Ann");
    service.arrived().await;
    let held = service.record("k").await.expect("a record");
    let store = service.idempotency.store();
    // An operator frees the key, and another run completes under it.
    let freed = store.resolve(
        &held.id,
        &held.token,
        idempotency::store::Resolution::Release,
    );
    assert_eq!(freed.await.ok(), Some(IfOwner::Done(())));
    let hold = Hold::new(
        held.id,
        Token::random(),
        Duration::from_secs(30),
        Duration::from_secs(60),
    );
    let claim = store
        .claim(ClaimRequest::new(
            &hold,
            &held.fingerprint,
            OnLost::TakeOver,
        ))
        .await;
    assert!(matches!(claim, Ok(Claim::Won { .. })), "{claim:?}");

    service.pass();
    let first = first.await.expect("a response");
    assert_eq!(first.status, 409, "{first:?}");
    assert_eq!(app.guests().await, [""; 0]);
    let errors = service.probe.failures.lock().clone();
    assert_eq!(errors, ["another run has the key"]);
    let record = service.record("k").await.expect("a record");
    assert_eq!(record.token, hold.token);
}

/// Handlers commit in the same way if the store is elsewhere. The response is then stored after the commit.
// proves: lost-lease-stores-nothing, failed-completion-keeps-key
#[apply(each_database)]
#[tokio::test]
async fn a_store_elsewhere_is_read_before_the_commit_and_written_after_it(#[case] kind: Kind) {
    let Some(app) = TransactionalApp::new(kind).await else {
        return;
    };
    let service = Service::start(app.database.clone(), Arc::new(MemoryStore::new())).await;
    for what in ["now", "hide", "panic"] {
        let path = &format!("/leased/{what}");
        let first = service.send(path, what, what).await;
        first.assert_fresh(201);
        let replay = service.send(path, what, what).await;
        replay.assert_replay(201);
        assert_eq!(replay.body, first.body);
    }
    assert_eq!(app.guests().await.len(), 3);

    let late = service.sending("/leased/stop", "k", "Ann");
    service.arrived().await;
    let held = service.record("k").await.expect("a record");
    let store = service.idempotency.store();
    let freed = store.resolve(
        &held.id,
        &held.token,
        idempotency::store::Resolution::Release,
    );
    assert_eq!(freed.await.ok(), Some(IfOwner::Done(())));
    service.pass();
    assert_eq!(late.await.expect("a response").status, 503);
    assert_eq!(app.guests().await.len(), 3);
}

/// A service that now uses transactions meets records that its last version left under leases.
// proves: dead-owner-taken-over, other-version-is-error
#[apply(each_database)]
#[tokio::test]
async fn a_transaction_takes_over_what_a_leased_run_has_left(#[case] kind: Kind) {
    let (Some(app), Some(other)) = (
        TransactionalApp::new(kind).await,
        TransactionalApp::new(kind).await,
    ) else {
        return;
    };
    // The same request is the same record everywhere.
    let elsewhere = other.service().await;
    assert_eq!(elsewhere.send("/book/now", "k", "Ann").await.status, 201);
    let record = elsewhere.record("k").await.expect("a record");

    let service = app.service().await;
    let hold = Hold::new(
        record.id,
        Token::random(),
        Duration::from_secs(60),
        Duration::from_secs(60),
    );
    let store = service.idempotency.store();
    let claim = store
        .claim(ClaimRequest::new(
            &hold,
            &record.fingerprint,
            OnLost::TakeOver,
        ))
        .await;
    assert!(matches!(claim, Ok(Claim::Won { .. })), "{claim:?}");
    assert_eq!(service.send("/book/now", "k", "Ann").await.status, 409);
    assert_eq!(service.runs(), 0);

    let lapsed = hold.with_lease(Duration::ZERO);
    assert_eq!(store.renew(&lapsed).await.ok(), Some(IfOwner::Done(())));
    let mut response = service.send("/book/now", "k", "Ann").await;
    // SQLite's records have whole milliseconds, rounded up.
    while response.status == 409 {
        response = service.send("/book/now", "k", "Ann").await;
    }
    response.assert_fresh(201);
    assert_eq!(*service.probe.attempts.lock(), [2]);
    assert!(service.send("/book/now", "k", "Ann").await.is_replay());
    assert_eq!(app.guests().await, ["Ann"]);
}

/// The commit's outcome is unknown, and here it succeeded, so the key is not free at once.
// proves: failed-completion-keeps-key, failed-completion-frees-key
#[tokio::test]
async fn a_commit_that_is_dropped_keeps_its_key_in_a_store_elsewhere() {
    let Some(app) = TransactionalApp::new(Kind::Sqlite).await else {
        return;
    };
    // Its clock stands still, so that no lease expires during the test.
    let keys = MemoryStore::new().with_clock(Clock::manual());
    let service = Service::start(app.database.clone(), Arc::new(keys)).await;
    let first = service.send("/leased/give-up-midway", "k", "Ann").await;
    assert_eq!(first.status, 503, "{first:?}");
    assert!(
        first.text().contains("idempotency_commit_unknown"),
        "{first:?}"
    );
    let retry = service.send("/leased/give-up-midway", "k", "Ann").await;
    assert_eq!(retry.status, 409, "{retry:?}");
    assert_eq!(service.runs(), 1);
    // One thread writes, so this removal waits for the booking.
    app.remove("nobody").await;
    assert_eq!(app.guests().await, ["Ann"]);
}

/// A failure rolls back the record's completion too, and the run releases its key like any run that fails.
// proves: failures-free-key, rows-and-key-commit-together
#[apply(each_database)]
#[tokio::test]
async fn a_transaction_that_fails_under_a_lease_does_not_complete_the_hold(#[case] kind: Kind) {
    let Some(app) = TransactionalApp::new(kind).await else {
        return;
    };
    let service = app.service().await;
    assert_eq!(service.send("/leased/now", "k", "Ann").await.status, 201);
    for _ in 0..2 {
        let failed = service.send("/leased/now", "k2", "Ann").await;
        assert_eq!(failed.status, 503, "{failed:?}");
        assert!(failed.text().contains("commit_failed"), "{failed:?}");
        assert!(service.record("k2").await.is_none());
    }
    assert_eq!(service.send("/leased/now", "k2", "Ben").await.status, 201);
    assert_eq!(app.guests().await, ["Ann", "Ben"]);
}
