//! A service that is asked to stop while its server is stopped too: its connections stay open, and no reply arrives on them.

use tests::{reply::Reply, servers::redis::RedisServer};

use crate::service::Service;

fn start(server: &RedisServer) -> Service {
    let url = server.url();
    let place = ["--database", "memory:", "--idempotency-store", &url];
    // Longer than the engine tries to store a response before it sends it.
    Service::start(&[&place[..], &["--stop-timeout", "15"]].concat())
}

/// A retry may run again after the lease, so the shutdown must report the unfinished run.
// proves: shutdown-waits-for-runs, deaf-store-left-quickly
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_whose_response_cannot_be_stored_in_time_is_reported() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let service = start(&server);
    let late = service
        .booking("k")
        .header("X-Fault-Delay-Ms", "1000")
        .header("X-Fault-Status", "418");
    let late = tokio::spawn(Reply::to(late));
    service.wait_for_log("injected a delay").await;
    server.pause();
    service.signal("TERM");
    let (status, log) = service.ended().await;
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(
        log.contains("1 runs have not ended or are not stored"),
        "{log}"
    );
    assert!(log.contains("requests were cut off"), "{log}");
    // Its client does not have to wait for that.
    assert_eq!(late.await.expect("the request").status, 418);
    server.resume();
}

/// The work has not begun, and its key becomes free when its lease expires.
// proves: shutdown-waits-for-runs, deaf-store-left-quickly
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_claim_that_cannot_be_withdrawn_is_reported_and_does_not_fail_the_stop() {
    let Some(server) = RedisServer::start(&[]) else {
        return;
    };
    let service = start(&server);
    assert_eq!(Reply::to(service.booking("first")).await.status, 201);
    server.pause();
    assert_eq!(Reply::to(service.booking("k")).await.status, 503);
    service.signal("TERM");
    let (status, log) = service.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("1 claims have not been withdrawn"), "{log}");
    server.resume();
}
