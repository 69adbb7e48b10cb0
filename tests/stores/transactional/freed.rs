//! Keys that an operator frees while another run of their request has not ended.

use std::time::Duration;

use idempotency::{
    operators::KeyChange,
    store::{Hold, IfOwner},
};
use rstest_reuse::apply;
use tests::reply::Reply;

use super::{Kind, Service, TransactionalApp, each_database};

/// The late run read the key before the other run committed, so it counts as one more request. Of it and later requests, one
/// takes effect.
// proves: freed-key-runs-again, rows-and-key-commit-together, concurrent-equals-run-once
#[apply(each_database)]
#[tokio::test]
async fn of_a_late_commit_and_a_retry_of_a_freed_key_one_takes_effect(#[case] kind: Kind) {
    for is_retry_first in [false, true] {
        let Some(app) = TransactionalApp::new(kind).await else {
            return;
        };
        let (slow, other) = (app.service().await, app.service().await);
        let late = slow.sending("/book/stop", "k", "Ann");
        slow.arrived().await;
        book(&other).await;
        // The operator has undone the booking.
        app.remove("Ann").await;
        free(&other).await;
        if is_retry_first {
            let retry = book(&other).await;
            slow.pass();
            let late = late.await.expect("a response");
            late.assert_replay(201);
            assert_eq!(late.body, retry.body);
        } else {
            slow.pass();
            let late = late.await.expect("a response");
            late.assert_fresh(201);
            let retry = other.send("/book/stop", "k", "Ann").await;
            retry.assert_replay(201);
        }
        assert_eq!(app.guests().await, ["Ann"]);
    }
}

/// An erasure keeps the key, so nothing is booked under it any more.
// proves: erased-response-never-runs, rows-and-key-commit-together, stale-owner-writes
#[apply(each_database)]
#[tokio::test]
async fn a_late_commit_does_nothing_after_an_erasure(#[case] kind: Kind) {
    let Some(app) = TransactionalApp::new(kind).await else {
        return;
    };
    let (slow, other) = (app.service().await, app.service().await);
    let late = slow.sending("/book/stop", "k", "Ann");
    slow.arrived().await;
    book(&other).await;
    let erased = other.idempotency.erase(&other.id("k")).await;
    assert_eq!(erased.expect("a response"), KeyChange::Made);
    app.remove("Ann").await;
    slow.pass();
    let late = late.await.expect("a response");
    for response in [late, other.send("/book/stop", "k", "Ann").await] {
        assert_eq!(response.status, 410, "{response:?}");
        assert!(
            response.text().contains("idempotency_response_erased"),
            "{response:?}"
        );
    }
    assert_eq!(app.guests().await, [""; 0]);
}

/// A run under a lease whose own record was completed and forgotten finds its token spent, and its booking is undone.
// proves: freed-key-runs-again, rows-and-key-commit-together, stale-owner-writes
#[apply(each_database)]
#[tokio::test]
async fn a_leased_run_whose_record_was_forgotten_commits_nothing(#[case] kind: Kind) {
    let Some(app) = TransactionalApp::new(kind).await else {
        return;
    };
    let service = app.service().await;
    let late = service.sending("/leased/stop", "k", "Ann");
    service.arrived().await;
    let held = service.record("k").await.expect("a record");
    // As if its own completion had arrived, and the reply had been lost.
    let hold = Hold::new(
        held.id,
        held.token,
        Duration::from_secs(30),
        Duration::from_secs(60),
    );
    let outcome = service.idempotency.outcome_of_value("booked");
    let completed = service.idempotency.store().complete(&hold, outcome).await;
    assert!(matches!(completed, Ok(IfOwner::Done(_))), "{completed:?}");
    free(&service).await;
    service.pass();
    let late = late.await.expect("a response");
    assert_ne!(late.status.as_u16(), 201, "{late:?}");
    assert_eq!(app.guests().await, [""; 0]);
    assert!(service.record("k").await.is_none());
    service.pass();
    let retry = service.send("/leased/stop", "k", "Ann").await;
    retry.assert_fresh(201);
    assert_eq!(app.guests().await, ["Ann"]);
}

/// A booking of a run that is not delayed.
async fn book(service: &Service) -> Reply {
    service.pass();
    let booked = service.send("/book/stop", "k", "Ann").await;
    booked.assert_fresh(201);
    booked
}

/// The operator's actions, both times.
async fn free(service: &Service) {
    let id = service.id("k");
    let asked = service.idempotency.ask_to_free(&id).await;
    let asked = asked.expect("a response").expect("a completed run");
    let freed = service.idempotency.free(&id, &asked.confirmation).await;
    assert_eq!(freed.expect("a response"), KeyChange::Made);
}
