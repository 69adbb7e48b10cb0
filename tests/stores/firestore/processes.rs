//! Processes of `core-api` that share one Firestore.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::{
    reply::Reply,
    servers::firestore::{Documents, FirestoreEmulator},
};
use tokio::task::JoinSet;

use super::unused_project;
use crate::service::Service;

/// Longer than the lease of a request, and much shorter than its ttl.
const PAST_THE_LEASE: Duration = Duration::from_secs(60);

/// A project, and how a process finds it.
struct Place {
    url: String,
    address: String,
    documents: Documents,
}

impl Place {
    fn new(emulator: &FirestoreEmulator) -> Self {
        let project = unused_project();
        Self {
            url: format!("firestore://{project}"),
            address: emulator.address(),
            documents: Documents::new(&emulator.address(), &project),
        }
    }

    fn variables(&self) -> [(&str, &str); 1] {
        [("FIRESTORE_EMULATOR_HOST", &self.address)]
    }

    /// A process whose bookings are there, and carry their keys.
    fn start(&self) -> Service {
        Service::start_with(&["--database", &self.url], &self.variables())
    }

    /// A process whose bookings and keys are there, and which claims the keys first.
    fn start_leasing(&self) -> Service {
        let options = ["--database", &self.url, "--idempotency-store", &self.url];
        Service::start_with(&options, &self.variables())
    }

    /// A process whose keys are there, and whose bookings are its own.
    fn start_for_keys(&self) -> Service {
        Service::start_with(&keys_there(&self.url), &self.variables())
    }
}

// proves: running-duplicate-gets-409, concurrent-equals-run-once, processes-share-store
// proves: check-then-claim, contention-as-error
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_forty_equal_requests_to_two_processes_one_books() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let place = Place::new(emulator);
    book_once(place.start(), place.start()).await;
    let place = Place::new(emulator);
    book_once(place.start_leasing(), place.start_leasing()).await;
}

async fn book_once(one: Service, other: Service) {
    let mut requests = JoinSet::new();
    for number in 0..40 {
        let service = if number % 2 == 0 { &one } else { &other };
        // Half of them wait.
        let patience = if number % 4 < 2 { "wait=10" } else { "wait=0" };
        requests.spawn(Reply::to(
            service.booking("ann-1").header("Prefer", patience),
        ));
    }
    let answers = requests.join_all().await;
    let first: Vec<&Reply> = answers
        .iter()
        .filter(|answer| answer.status == StatusCode::CREATED && !answer.is_replay())
        .collect();
    assert_eq!(first.len(), 1, "{answers:?}");
    for answer in &answers {
        match answer.status {
            StatusCode::CREATED => assert_eq!(answer.body, first[0].body),
            StatusCode::CONFLICT => assert!(!answer.is_replay()),
            _ => panic!("201 or 409, and not {answer:?}"),
        }
    }
    for service in [&one, &other] {
        assert_eq!(service.bookings().await, 1);
        let replay = Reply::to(service.booking("ann-1")).await;
        assert!(replay.is_replay());
        assert_eq!(replay.body, first[0].body);
    }
}

// proves: hold-lives-by-renewal, dead-owner-taken-over, crash-locks-for-ttl
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_killed_process_had_begun_is_taken_over_once_its_lease_is_over() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let place = Place::new(emulator);
    let (killed, other) = (place.start_leasing(), place.start_leasing());
    let cut_off = killed.booking("ann-1").header("X-Fault-Delay-Ms", 600_000);
    let cut_off = tokio::spawn(cut_off.send());
    place.documents.one_is_taken().await;
    drop(killed);
    assert!(cut_off.await.expect("the request").is_err());

    assert_eq!(
        Reply::to(other.booking("ann-1")).await.status,
        StatusCode::CONFLICT
    );
    assert_eq!(other.bookings().await, 0);
    place.documents.set_back(PAST_THE_LEASE);
    let taken_over = Reply::to(other.booking("ann-1")).await;
    assert_eq!(taken_over.status, StatusCode::CREATED);
    assert!(!taken_over.is_replay());
    assert!(Reply::to(other.booking("ann-1")).await.is_replay());
    assert_eq!(other.bookings().await, 1);
}

/// Its transaction was not sent, so there is nothing to wait for.
// proves: dead-owner-taken-over, rows-and-key-commit-together, crash-locks-for-ttl
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_process_that_is_killed_before_its_commit_leaves_nothing() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let place = Place::new(emulator);
    let (killed, other) = (place.start(), place.start());
    let cut_off = killed.booking("ann-1").header("X-Fault-Delay-Ms", 600_000);
    let cut_off = tokio::spawn(cut_off.send());
    killed.wait_for_log("injected a delay").await;
    drop(killed);
    assert!(cut_off.await.expect("the request").is_err());
    let retry = Reply::to(other.booking("ann-1")).await;
    assert_eq!(
        (retry.status, retry.is_replay()),
        (StatusCode::CREATED, false)
    );
    assert_eq!(other.bookings().await, 1);
}

/// It loses at the key when it commits, and its booking is not made.
// proves: lost-lease-stores-nothing, rows-and-key-commit-together, stale-owner-writes
// proves: lost-claim-as-outage, contention-as-error
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_process_that_was_paused_in_its_handler_commits_nothing() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let place = Place::new(emulator);
    let (paused, other) = (place.start(), place.start());
    let late = paused.booking("ann-1").header("X-Fault-Delay-Ms", 1_000);
    let late = tokio::spawn(Reply::to(late));
    paused.wait_for_log("injected a delay").await;
    paused.signal("STOP");
    let first = Reply::to(other.booking("ann-1")).await;
    assert_eq!(
        (first.status, first.is_replay()),
        (StatusCode::CREATED, false)
    );
    paused.signal("CONT");
    let late = late.await.expect("the request");
    assert_eq!((late.status, late.is_replay()), (StatusCode::CREATED, true));
    assert_eq!(late.body, first.body);
    assert_eq!(other.bookings().await, 1);
}

// proves: lost-lease-stores-nothing, stale-owner-writes, run-outlives-lease
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_process_that_was_paused_past_its_lease_stores_nothing() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let place = Place::new(emulator);
    let (paused, other) = (place.start_for_keys(), place.start_for_keys());
    // Long enough for it to be stopped first.
    let late = paused.booking("ann-1").header("X-Fault-Delay-Ms", 3_000);
    let late = tokio::spawn(Reply::to(late));
    place.documents.one_is_taken().await;
    paused.signal("STOP");
    place.documents.set_back(PAST_THE_LEASE);
    let taken_over = Reply::to(other.booking("ann-1")).await;
    assert_eq!(taken_over.status, StatusCode::CREATED);
    assert!(!taken_over.is_replay());

    paused.signal("CONT");
    // Its own answer is nobody's: the client gets that of the process that took over.
    let late = late.await.expect("the request");
    assert!(late.is_replay(), "{late:?}");
    assert_eq!(late.body, taken_over.body);
    for service in [&paused, &other] {
        let replay = Reply::to(service.booking("ann-1")).await;
        assert!(replay.is_replay());
        assert_eq!(replay.body, taken_over.body);
    }
}

// proves: store-clock-decides, clock-skew-early-takeover
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_process_whose_clock_is_ahead_takes_nothing_over_early() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let place = Place::new(emulator);
    let Some(ahead) = Service::start_a_day_ahead(&keys_there(&place.url), &place.variables()).await
    else {
        return;
    };
    let punctual = place.start_for_keys();
    let running = punctual.booking("ann-1").header("X-Fault-Delay-Ms", 1_000);
    let running = tokio::spawn(Reply::to(running));
    place.documents.one_is_taken().await;
    let early = Reply::to(ahead.booking("ann-1")).await;
    assert_eq!(early.status, StatusCode::CONFLICT);
    let answer = running.await.expect("the request");
    assert_eq!(answer.status, StatusCode::CREATED);
    // A ttl, too, is not over earlier for it, nor later for what it has stored itself.
    let replay = Reply::to(ahead.booking("ann-1")).await;
    assert!(replay.is_replay(), "{replay:?}");
    let ttl = Duration::from_secs(3600);
    for service in [&ahead, &punctual] {
        let first = Reply::to(ahead.booking("ann-2")).await;
        assert_eq!(
            (first.status, first.is_replay()),
            (StatusCode::CREATED, false)
        );
        place.documents.set_back(ttl - PAST_THE_LEASE);
        assert!(Reply::to(service.booking("ann-2")).await.is_replay());
        place.documents.set_back(ttl);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bookings_in_firestore_are_listed_changed_and_removed_by_every_process() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let place = Place::new(emulator);
    let (one, other) = (place.start(), place.start());
    let mut ids = Vec::new();
    for key in ["ann-1", "ann-2", "ann-3"] {
        let booked = Reply::to(one.booking(key)).await;
        assert_eq!(booked.status, StatusCode::CREATED, "{booked:?}");
        ids.push(id(&read(&booked)));
    }
    let list = async |query: &str| {
        let listed = Reply::to(other.request(Method::GET, &format!("/bookings{query}"))).await;
        let listed = read(&listed);
        let listed = listed.as_array().expect("bookings");
        listed.iter().map(id).collect::<Vec<_>>()
    };
    let newest_first: Vec<_> = ids.iter().rev().cloned().collect();
    assert_eq!(list("").await, newest_first);
    assert_eq!(list("?limit=2").await, newest_first[..2]);
    let behind = format!("?limit=2&after={}", newest_first[1]);
    assert_eq!(list(&behind).await, newest_first[2..]);

    let path = format!("/bookings/{}", ids[0]);
    let before = read(&Reply::to(one.request(Method::GET, &path)).await);
    let change = json!({ "customer_name": "Bob", "status": "cancelled" });
    let change = other.request(Method::PATCH, &path).json(&change);
    let changed = Reply::to(change).await;
    let mut expected = before;
    expected["customer_name"] = "Bob".into();
    expected["status"] = "cancelled".into();
    assert_eq!(read(&changed), expected);
    let shown = Reply::to(one.request(Method::GET, &path)).await;
    assert_eq!(read(&shown), expected);

    let removed = Reply::to(other.request(Method::DELETE, &path)).await;
    assert_eq!(removed.status, StatusCode::NO_CONTENT);
    let change = json!({ "customer_name": "Eve" });
    for gone in [
        one.request(Method::GET, &path),
        one.request(Method::DELETE, &path),
        one.request(Method::PATCH, &path).json(&change),
    ] {
        assert_eq!(Reply::to(gone).await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(list("").await, newest_first[..2]);
}

fn read(answer: &Reply) -> Value {
    serde_json::from_slice(&answer.body).expect("JSON")
}

fn id(booking: &Value) -> String {
    booking["id"].as_str().expect("an id").to_owned()
}

/// Keys there, bookings in the process.
fn keys_there(url: &str) -> [&str; 4] {
    ["--database", "memory:", "--idempotency-store", url]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_emulator_is_named_in_the_log() {
    let Some(emulator) = FirestoreEmulator::shared() else {
        return;
    };
    let place = Place::new(emulator);
    let service = place.start();
    service.wait_for_log("FIRESTORE_EMULATOR_HOST is set").await;
    service.wait_for_log(&place.address).await;
}
