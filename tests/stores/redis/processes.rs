//! Two processes of `core-api` whose keys are in one Redis.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use tests::{
    reply::Reply,
    servers::redis::{RedisServer, keys, set_back},
};
use tokio::task::JoinSet;

use crate::{service::Service, within_a_minute};

/// What the keys of `core-api` begin with.
const PREFIX: &str = "idempotency:";

/// Longer than the lease of a request, and much shorter than its ttl.
const PAST_THE_LEASE: Duration = Duration::from_secs(60);

/// Returns once somebody has taken a key.
async fn one_is_taken(server: &RedisServer) {
    let mut connection = server.connection();
    while keys(&mut connection, PREFIX).is_empty() {
        tokio::task::yield_now().await;
    }
}

/// Keys on this server, bookings in the process.
fn options(url: &str) -> [&str; 4] {
    ["--database", "memory:", "--idempotency-store", url]
}

fn two_processes(server: &RedisServer) -> (Service, Service) {
    let start = || Service::start(&options(&server.url()));
    (start(), start())
}

// proves: running-duplicate-gets-409, concurrent-equals-run-once, processes-share-store
// proves: check-then-claim
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_forty_equal_requests_to_two_processes_one_books() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let (one, other) = two_processes(&server);
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
    assert_eq!(one.bookings().await + other.bookings().await, 1);
    for service in [&one, &other] {
        let replay = Reply::to(service.booking("ann-1")).await;
        assert!(replay.is_replay());
        assert_eq!(replay.body, first[0].body);
    }
}

// proves: hold-lives-by-renewal, dead-owner-taken-over, crash-locks-for-ttl
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_killed_process_had_begun_is_taken_over_once_its_lease_is_over() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let (killed, other) = two_processes(&server);
    let cut_off = tokio::spawn(
        killed
            .booking("ann-1")
            .header("X-Fault-Delay-Ms", 600_000)
            .send(),
    );
    one_is_taken(&server).await;
    drop(killed);
    assert!(cut_off.await.expect("the request").is_err());

    assert_eq!(
        Reply::to(other.booking("ann-1")).await.status,
        StatusCode::CONFLICT
    );
    assert_eq!(other.bookings().await, 0);
    set_back(&server, PREFIX, PAST_THE_LEASE);
    let taken_over = Reply::to(other.booking("ann-1")).await;
    assert_eq!(taken_over.status, StatusCode::CREATED);
    assert!(!taken_over.is_replay());
    assert!(Reply::to(other.booking("ann-1")).await.is_replay());
    assert_eq!(other.bookings().await, 1);
}

// proves: lost-lease-stores-nothing, stale-owner-writes, run-outlives-lease
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_process_that_was_paused_past_its_lease_stores_nothing() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let (paused, other) = two_processes(&server);
    // Long enough for it to be stopped first.
    let late = tokio::spawn(Reply::to(
        paused.booking("ann-1").header("X-Fault-Delay-Ms", 3_000),
    ));
    one_is_taken(&server).await;
    paused.signal("STOP");
    set_back(&server, PREFIX, PAST_THE_LEASE);
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
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let Some(ahead) = Service::start_a_day_ahead(&options(&server.url()), &[]).await else {
        return;
    };
    let punctual = Service::start(&options(&server.url()));
    let running = tokio::spawn(Reply::to(
        punctual.booking("ann-1").header("X-Fault-Delay-Ms", 1_000),
    ));
    one_is_taken(&server).await;
    let early = Reply::to(ahead.booking("ann-1")).await;
    assert_eq!(early.status, StatusCode::CONFLICT);
    let answer = running.await.expect("the request");
    assert_eq!(answer.status, StatusCode::CREATED);
    // A ttl, too, is not over earlier for it, nor later for what it has stored itself.
    let replay = Reply::to(ahead.booking("ann-1")).await;
    assert!(replay.is_replay(), "{replay:?}");
    assert_eq!(
        Reply::to(ahead.booking("ann-2")).await.status,
        StatusCode::CREATED
    );
    // A booking's ttl, and the minute for which its record is stored after that.
    let past_the_ttl = Duration::from_secs(3600 + 60);
    set_back(&server, PREFIX, past_the_ttl);
    for service in [&ahead, &punctual] {
        let anew = Reply::to(service.booking("ann-2")).await;
        assert_eq!(
            (anew.status, anew.is_replay()),
            (StatusCode::CREATED, false)
        );
        set_back(&server, PREFIX, past_the_ttl);
    }
}

// proves: duplicate-may-wait, dead-owner-taken-over, store-down-nothing-runs
// proves: failed-completion-keeps-key, failed-completion-frees-key, store-outage-fails-open
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_stops_makes_no_request_run_twice() {
    let durable = ["--appendonly", "yes", "--appendfsync", "always"];
    let Some(server) = RedisServer::start(&durable) else {
        return;
    };
    let (one, other) = two_processes(&server);
    // Stopped at the claim.
    server.stop();
    let refused = Reply::to(one.booking("ann-1")).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(one.bookings().await, 0);
    server.start_again();
    assert_eq!(
        Reply::to(one.booking("ann-1")).await.status,
        StatusCode::CREATED
    );

    // Stopped between the run and its completion: the client has its answer, and retries get the same one once the
    // server is back.
    forget_all(&server);
    let running = tokio::spawn(Reply::to(
        one.booking("ann-2").header("X-Fault-Delay-Ms", 1_000),
    ));
    // A claim whose answer is lost would be refused; this one has been heard of, for the handler runs.
    one.wait_for_log("injected a delay").await;
    server.stop();
    let answer = running.await.expect("the request");
    assert_eq!(answer.status, StatusCode::CREATED);
    assert!(!answer.is_replay());
    server.start_again();
    let retried = Reply::to(other.booking("ann-2").header("Prefer", "wait=10")).await;
    assert!(retried.is_replay(), "{retried:?}");
    assert_eq!(retried.body, answer.body);
    assert_eq!((one.bookings().await, other.bookings().await), (2, 0));
}

fn forget_all(server: &RedisServer) {
    let flushed: String = redis::cmd("FLUSHALL")
        .query(&mut server.connection())
        .expect("the flush");
    assert_eq!(flushed, "OK");
}

/// It reads still, as a full server does, and so it did when readiness only asked it to read.
// proves: read-only-store-refused
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_service_whose_server_only_reads_or_is_full_is_not_ready() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let service = Service::start(&options(&server.url()));
    let ready = async || {
        Reply::to(service.request(Method::GET, "/readyz"))
            .await
            .status
    };
    let set = |command: &[&str]| {
        let done: String = redis::cmd(command[0])
            .arg(&command[1..])
            .query(&mut server.connection())
            .expect("the change");
        assert_eq!(done, "OK");
    };
    assert_eq!(ready().await, StatusCode::OK);
    for (change, back) in [
        (
            ["REPLICAOF", "127.0.0.1", "1"].as_slice(),
            ["REPLICAOF", "NO", "ONE"].as_slice(),
        ),
        (
            &["CONFIG", "SET", "maxmemory", "1"],
            &["CONFIG", "SET", "maxmemory", "0"],
        ),
    ] {
        set(change);
        let turns = async |status: StatusCode| while ready().await != status {};
        within_a_minute("not ready", turns(StatusCode::SERVICE_UNAVAILABLE)).await;
        let refused = Reply::to(service.booking("ann-1")).await;
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        set(back);
        within_a_minute("ready", turns(StatusCode::OK)).await;
    }
}
