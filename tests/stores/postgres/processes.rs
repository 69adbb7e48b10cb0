//! Two services on one database.

use std::time::Duration;
use tests::{reply::Reply, servers::postgres::advance};
use tokio::task::JoinSet;

use super::{database, pooler};
use crate::service::Service;

const LEASE: Duration = Duration::from_secs(30);

/// Their bookings carry their keys.
fn two_services(url: &str) -> [Service; 2] {
    [(); 2].map(|()| Service::start(&["--database", url]))
}

/// They claim their keys first, as if those were somewhere else.
fn two_leasing_services(url: &str) -> [Service; 2] {
    let options = ["--database", url, "--idempotency-store", url];
    [(); 2].map(|()| Service::start(&options))
}

// proves: one-atomic-claim, concurrent-equals-run-once, check-then-claim
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn forty_equal_requests_to_two_services_book_once() {
    for start in [two_services, two_leasing_services] {
        let Some(url) = database().await else { return };
        book_once(&start(&url)).await;
    }
}

// proves: one-atomic-claim, concurrent-equals-run-once, waiters-exhaust-pool
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn forty_equal_requests_book_once_behind_a_pooler() {
    for start in [two_services, two_leasing_services] {
        let Some(url) = database().await else { return };
        let Some(pooler) = pooler() else { return };
        book_once(&start(&pooler.url(&url))).await;
    }
}

/// The bookings stay in the memory of each service, and only one has one.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn keys_alone_can_be_shared() {
    let Some(url) = database().await else { return };
    let options = ["--database", "memory:", "--idempotency-store", &url];
    let services = [(); 2].map(|()| Service::start(&options));
    let first = Reply::to(services[0].booking("k")).await;
    let retry = Reply::to(services[1].booking("k")).await;
    assert_eq!(first.status, 201, "{first:?}");
    assert_eq!((retry.is_replay(), &retry.body), (true, &first.body));
    assert_eq!(services[0].bookings().await, 1);
    assert_eq!(services[1].bookings().await, 0);
}

#[tokio::test]
async fn a_password_is_not_shown() {
    let Some(url) = database().await else { return };
    let url = url.replace("postgres@", "postgres:secret@");
    let service = Service::start(&["--database", &url]);
    assert!(!service.ready_line.contains("secret"));
    assert!(
        service
            .ready_line
            .contains("stores in postgres://127.0.0.1:")
    );
}

async fn book_once(services: &[Service; 2]) {
    let mut requests = JoinSet::new();
    for number in 0..40 {
        requests.spawn(Reply::to(services[number % 2].booking("k")));
    }
    let answers = requests.join_all().await;
    let first = answers
        .iter()
        .find(|answer| answer.status == 201)
        .expect("a booking");
    for answer in &answers {
        match answer.status.as_u16() {
            201 => assert_eq!(answer.body, first.body),
            status => assert_eq!(status, 409, "{answer:?}"),
        }
    }
    let executed = answers
        .iter()
        .filter(|answer| answer.status == 201 && !answer.is_replay());
    assert_eq!(executed.count(), 1);
    for service in services {
        let replay = Reply::to(service.booking("k")).await;
        assert_eq!((replay.is_replay(), &replay.body), (true, &first.body));
        assert_eq!(service.bookings().await, 1);
    }
}

// proves: dead-owner-taken-over, crash-locks-for-ttl, interrupted-run-stuck
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_service_that_is_killed_in_the_middle_is_taken_over_after_its_lease() {
    let Some(url) = database().await else { return };
    let [killed, other] = two_leasing_services(&url);
    let slow = killed
        .booking("k")
        .header("X-Fault-Delay-Ms", "600000")
        .send();
    let slow = tokio::spawn(slow);
    killed.wait_for_log("injected a delay").await;
    killed.signal("KILL");
    drop(slow.await.expect("the request").expect_err("no answer"));

    let early = Reply::to(other.booking("k")).await;
    assert_eq!(early.status, 409, "{early:?}");
    advance(&url, LEASE);
    let taken = Reply::to(other.booking("k")).await;
    assert_eq!((taken.status.as_u16(), taken.is_replay()), (201, false));
    assert_eq!(other.bookings().await, 1);
}

/// Its transaction ends with it, so there is nothing to wait for.
// proves: dead-owner-taken-over, rows-and-key-commit-together, crash-locks-for-ttl
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_service_that_is_killed_in_its_transaction_leaves_nothing() {
    let Some(url) = database().await else { return };
    let [killed, other] = two_services(&url);
    let slow = killed
        .booking("k")
        .header("X-Fault-Delay-Ms", "600000")
        .send();
    let slow = tokio::spawn(slow);
    killed.wait_for_log("injected a delay").await;
    killed.signal("KILL");
    drop(slow.await.expect("the request").expect_err("no answer"));

    let retry = Reply::to(other.booking("k")).await;
    assert_eq!((retry.status.as_u16(), retry.is_replay()), (201, false));
    assert_eq!(other.bookings().await, 1);
}

/// It loses at the key when it commits, and its booking is undone.
// proves: lost-lease-stores-nothing, rows-and-key-commit-together, stale-owner-writes
// proves: lost-claim-as-outage
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_service_that_was_paused_in_its_handler_commits_nothing() {
    let Some(url) = database().await else { return };
    let [paused, other] = two_services(&url);
    let slow = paused.booking("k").header("X-Fault-Delay-Ms", "1000");
    let slow = tokio::spawn(Reply::to(slow));
    paused.wait_for_log("injected a delay").await;
    paused.signal("STOP");
    let first = Reply::to(other.booking("k")).await;
    assert_eq!((first.status.as_u16(), first.is_replay()), (201, false));
    paused.signal("CONT");

    let late = slow.await.expect("the request");
    assert_eq!((late.status.as_u16(), late.is_replay()), (201, true));
    assert_eq!(late.body, first.body);
    assert_eq!(other.bookings().await, 1);
}

// proves: lost-lease-stores-nothing, stale-owner-writes, run-outlives-lease
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_service_that_was_paused_past_its_lease_stores_nothing() {
    let Some(url) = database().await else { return };
    let [paused, other] = two_leasing_services(&url);
    // Its answer would be stored, if it could be.
    let slow = paused
        .booking("k")
        .header("X-Fault-Delay-Ms", "1000")
        .header("X-Fault-Status", "418");
    let slow = tokio::spawn(Reply::to(slow));
    paused.wait_for_log("injected a delay").await;
    paused.signal("STOP");
    advance(&url, LEASE);
    let taken = Reply::to(other.booking("k")).await;
    assert_eq!((taken.status.as_u16(), taken.is_replay()), (201, false));
    paused.signal("CONT");

    let late = slow.await.expect("the request");
    assert_eq!((late.status.as_u16(), &late.body), (201, &taken.body));
    // Nothing is wrong, but an operator may want to know.
    let lost = "a run outlived its lease and another one took over";
    paused.wait_for_log(lost).await;
    let log = paused.logged();
    let line = log.lines().find(|line| line.contains(lost));
    assert!(line.is_some_and(|line| line.contains("WARN")), "{log}");
    assert!(!log.contains("ERROR"), "{log}");
    for service in [&paused, &other] {
        let replay = Reply::to(service.booking("k")).await;
        assert_eq!((replay.is_replay(), &replay.body), (true, &taken.body));
    }
    assert_eq!(other.bookings().await, 1);
}
