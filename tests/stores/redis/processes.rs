//! Processes of `core-api` whose Redis stops, only reads, or is full.

use reqwest::{Method, StatusCode};
use tests::{reply::Reply, servers::redis::RedisServer};

use crate::{service::Service, within_a_minute};

/// Keys on this server, bookings in the process.
fn options(url: &str) -> [&str; 4] {
    ["--database", "memory:", "--idempotency-store", url]
}

// proves: duplicate-may-wait, dead-owner-taken-over, store-down-nothing-runs
// proves: failed-completion-keeps-key, failed-completion-frees-key, store-outage-fails-open
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_stops_makes_no_request_run_twice() {
    let durable = ["--appendonly", "yes", "--appendfsync", "always"];
    let Some(server) = RedisServer::start(&durable) else {
        return;
    };
    let [one, other] = [(); 2].map(|()| Service::start(&options(&server.url())));
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

    // Stopped between the run and its completion: the client has its response, and retries get the same one once the
    // server is back.
    forget_all(&server);
    let running = tokio::spawn(Reply::to(
        one.booking("ann-2").header("X-Fault-Delay-Ms", 1_000),
    ));
    // A claim whose reply is lost would be refused. This claim's reply has arrived, because the handler runs.
    one.wait_for_log("injected a delay").await;
    server.stop();
    let response = running.await.expect("the request");
    assert_eq!(response.status, StatusCode::CREATED);
    assert!(!response.is_replay());
    server.start_again();
    let retried = Reply::to(other.booking("ann-2").header("Prefer", "wait=10")).await;
    assert!(retried.is_replay(), "{retried:?}");
    assert_eq!(retried.body, response.body);
    assert_eq!((one.bookings().await, other.bookings().await), (2, 0));
}

fn forget_all(server: &RedisServer) {
    let flushed: String = redis::cmd("FLUSHALL")
        .query(&mut server.connection())
        .expect("the flush");
    assert_eq!(flushed, "OK");
}

/// A full server still reads, so a readiness check that only reads would pass.
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
