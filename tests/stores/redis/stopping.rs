//! A service that is asked to stop while its server is stopped too: its connections stay, and nothing comes back on them.

use tests::{reply::Reply, servers::redis::RedisServer};

use crate::service::Service;

fn start(server: &RedisServer) -> Service {
    let url = server.url();
    Service::start(&["--database", "memory:", "--idempotency-store", &url])
}

/// A retry may run again after the lease, so whoever has stopped the service has to know.
// proves: shutdown-waits-for-runs, deaf-store-left-quickly
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_whose_response_cannot_be_stored_is_told_of_when_the_time_for_it_is_over() {
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
    // Its client need not wait for that.
    assert_eq!(late.await.expect("the request").status, 418);
    server.resume();
}

/// Nothing of it has run, and its key comes free with its lease.
// proves: shutdown-waits-for-runs, deaf-store-left-quickly
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_claim_that_cannot_be_withdrawn_is_told_of_and_makes_no_failure_of_the_stop() {
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
