//! Equal requests sent concurrently to one service, and to two that share a database.

use futures_util::future::join_all;
use rstest_reuse::apply;

use super::{Kind, TransactionalApp, each_database};

// proves: running-duplicate-gets-409, mismatch-refused-while-running
#[apply(each_database)]
#[tokio::test]
async fn duplicates_within_the_process_do_not_run(#[case] kind: Kind) {
    let Some(app) = TransactionalApp::new(kind).await else {
        return;
    };
    let service = app.service().await;
    let first = service.sending("/book/stop", "k", "Ann");
    service.arrived().await;

    let duplicate = service.send("/book/stop", "k", "Ann").await;
    assert_eq!(duplicate.status, 409);
    assert!(
        duplicate.text().contains("idempotency_in_progress"),
        "{duplicate:?}"
    );
    assert_eq!(service.send("/book/stop", "k", "Ben").await.status, 422);
    assert!(service.record("k").await.is_none());

    service.pass();
    assert_eq!(first.await.expect("a response").status, 201);
    let replay = service.send("/book/stop", "k", "Ann").await;
    assert!(replay.is_replay());
    assert_eq!(service.runs(), 1);
}

// proves: duplicate-may-wait, only-replays-marked
#[apply(each_database)]
#[tokio::test]
async fn duplicates_may_wait_for_the_commit(#[case] kind: Kind) {
    let Some(app) = TransactionalApp::new(kind).await else {
        return;
    };
    let service = app.service().await;
    let first = service.sending("/patient/stop", "k", "Ann");
    service.arrived().await;
    let waiting: Vec<_> = (0..20)
        .map(|_| service.sending("/patient/stop", "k", "Ann"))
        .collect();
    service.pass();
    let first = first.await.expect("a response");
    first.assert_fresh(201);
    for response in join_all(waiting).await {
        let response = response.expect("a response");
        response.assert_replay(201);
        assert_eq!(response.body, first.body);
    }
    assert_eq!(service.runs(), 1);
}

/// A waiter runs if the first run stored nothing.
// proves: duplicate-may-wait
#[apply(each_database)]
#[tokio::test]
async fn a_waiter_takes_the_place_of_a_run_that_fails(#[case] kind: Kind) {
    let Some(app) = TransactionalApp::new(kind).await else {
        return;
    };
    let service = app.service().await;
    // This booking makes the run's own booking fail.
    assert_eq!(service.send("/book/now", "other", "Ann").await.status, 201);
    let first = service.sending("/patient/stop", "k", "Ann");
    service.arrived().await;
    let waiting = service.sending("/patient/stop", "k", "Ann");
    service.pass();
    assert_eq!(first.await.expect("a response").status, 503);
    service.arrived().await;
    service.pass();
    assert_eq!(waiting.await.expect("a response").status, 503);
    assert_eq!(service.runs(), 3);
}

/// Both run, because neither can see the other. One commits, and the other's booking is rolled back.
// proves: concurrent-equals-run-once, processes-share-store, rows-and-key-commit-together
// proves: check-then-claim, lost-claim-as-outage
#[apply(each_database)]
#[tokio::test]
async fn of_two_services_one_commits(#[case] kind: Kind) {
    let Some(app) = TransactionalApp::new(kind).await else {
        return;
    };
    let (one, other) = (app.service().await, app.service().await);
    let first = one.sending("/book/stop", "k", "Ann");
    let second = other.sending("/book/stop", "k", "Ann");
    one.arrived().await;
    other.arrived().await;

    one.pass();
    let first = first.await.expect("a response");
    first.assert_fresh(201);
    other.pass();
    let second = second.await.expect("a response");
    second.assert_replay(201);
    assert_eq!(second.body, first.body);
    assert_eq!(app.guests().await, ["Ann"]);
}

/// The second request has a different body, and so another guest, whose booking is rolled back.
// proves: other-body-refused, rows-and-key-commit-together
#[apply(each_database)]
#[tokio::test]
async fn of_two_services_with_other_bodies_one_is_refused(#[case] kind: Kind) {
    let Some(app) = TransactionalApp::new(kind).await else {
        return;
    };
    let (one, other) = (app.service().await, app.service().await);
    let first = one.sending("/book/stop", "k", "Ann");
    let second = other.sending("/book/stop", "k", "Ben");
    one.arrived().await;
    other.arrived().await;
    one.pass();
    assert_eq!(first.await.expect("a response").status, 201);
    other.pass();
    assert_eq!(second.await.expect("a response").status, 422);
    assert_eq!(app.guests().await, ["Ann"]);
}

// proves: one-atomic-claim, concurrent-equals-run-once, check-then-claim
// proves: loser-refused-not-replayed
#[apply(each_database)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_forty_equal_requests_to_two_services_one_books(#[case] kind: Kind) {
    let Some(app) = TransactionalApp::new(kind).await else {
        return;
    };
    let services = [app.service().await, app.service().await];
    let sent = (0..40).map(|index| services[index % 2].sending("/book/now", "k", "Ann"));
    let sent: Vec<_> = sent.collect();
    let mut firsts = 0;
    for response in join_all(sent).await {
        let response = response.expect("a response");
        match response.status.as_u16() {
            201 => {
                assert_eq!(response.body, "Ann has a room");
                firsts += usize::from(!response.is_replay());
            }
            409 => assert!(
                response.text().contains("idempotency_in_progress"),
                "{response:?}"
            ),
            _ => panic!("{response:?}"),
        }
    }
    assert_eq!(firsts, 1);
    assert_eq!(app.guests().await, ["Ann"]);
}
