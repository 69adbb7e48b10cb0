//! Servers that accept no writes: a standby, which may lag behind, and a read-only server.

use bytes::Bytes;
use clap::Parser;
use core_api::{Config, Server};
use idempotency::{
    PostgresStore, Store,
    store::{Claim, IfOwner, PostgresStoreError, StoreErrorKind},
};
use reqwest::Method;
use sqlx::postgres::PgPoolOptions;
use tests::{
    proxy::{DarkEnd, Proxy},
    reply::Reply,
    servers::postgres::PostgresServer,
};

use super::{behind_a_proxy, database, hold_on, name, new_hold, request, sql, store, until};
use crate::{claim, service::Service, within_a_minute};

/// Ends every other connection of the database.
const END_ALL: &str = "
    select pg_terminate_backend(pid, 10000) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()
";

/// The error with which `core-api` does not start under these options.
async fn refusal(options: &[&str]) -> String {
    let arguments = ["core-api", "--listen", "127.0.0.1:0"];
    let config = Config::try_parse_from(arguments.iter().chain(options)).expect("options");
    let started = Server::start(&config).await;
    started.expect_err("a refusal").to_string()
}

async fn is_refused(url: &str, is_standby: bool, advice: &str) {
    let refused = PostgresStore::connect(url).await.expect_err("a refusal");
    let is_typed =
        matches!(&refused, PostgresStoreError::ReadOnly { is_standby: it } if *it == is_standby);
    assert!(is_typed, "{refused:?}");
    assert!(refused.to_string().contains(advice), "{refused}");
    let pool = PgPoolOptions::new().connect_lazy(url).expect("a URL");
    let refused = PostgresStore::new(pool).create_schema().await;
    assert!(
        matches!(refused, Err(PostgresStoreError::ReadOnly { .. })),
        "{refused:?}"
    );
    let keys = ["--database", "memory:", "--idempotency-store", url];
    for (options, named) in [
        (&["--database", url][..], "--database"),
        (&keys, "--idempotency-store"),
    ] {
        let refused = refusal(options).await;
        assert!(refused.starts_with(named), "{refused}");
        assert!(refused.contains(advice), "{refused}");
    }
}

/// A primary with a database, and its standby.
async fn two_servers() -> Option<(PostgresServer, String, PostgresServer)> {
    let primary = PostgresServer::start()?;
    let url = primary.database().await;
    let standby = primary.standby();
    standby.connect().await;
    Some((primary, url, standby))
}

// proves: read-only-store-refused, lagging-replica-asked
#[tokio::test]
async fn a_standby_is_refused_at_the_start() {
    let Some((_primary, url, standby)) = two_servers().await else {
        return;
    };
    store(&url).await;
    let copy = standby.url(&url);
    until(&copy, "select count(*) = 1 from idempotency_schema").await;
    is_refused(&copy, true, "name the primary").await;
}

// proves: read-only-store-refused
#[tokio::test]
async fn a_server_that_is_told_to_only_read_is_refused_at_the_start() {
    let Some(url) = database().await else { return };
    store(&url).await;
    sql(&url, &read_only(&url, "on")).await;
    is_refused(&url, false, "turn default_transaction_read_only off").await;
}

/// The standby does not have the key yet, and neither accepts a claim nor says that the key is free.
// proves: store-down-nothing-runs, read-only-store-refused, lagging-replica-asked
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_standby_that_lags_behind_is_not_asked_whether_there_is_a_record() {
    let Some((primary, url, standby)) = two_servers().await else {
        return;
    };
    let (proxy, behind) = behind_a_proxy(&url).await;
    let service = Service::start(&["--database", &behind]);
    let store = store(&behind).await;
    let copy = standby.url(&url);
    until(&copy, "select count(*) = 0 from idempotency_records").await;
    sql(&copy, "select pg_wal_replay_pause()").await;
    until(&copy, "select pg_get_wal_replay_pause_state() = 'paused'").await;
    let owner = new_hold();
    claim(&store, &owner, &request()).await.expect("a claim");
    let completed = store.complete(&owner, Bytes::from_static(b"booked")).await;
    assert!(matches!(completed, Ok(IfOwner::Done(_))), "{completed:?}");
    let first = Reply::to(service.booking("k")).await;
    assert_eq!(first.status, 201, "{first:?}");
    assert_eq!(ready(&service).await, 200);

    lead(&proxy, &standby);
    let looked = store.inspect(&owner.id).await;
    let kind = looked.map_err(|error| error.kind());
    assert_eq!(kind, Err(StoreErrorKind::Unavailable));
    let claimed = claim(&store, &hold_on(owner.id), &request()).await;
    let kind = claimed.map_err(|error| error.kind());
    assert_eq!(kind, Err(StoreErrorKind::Unavailable));
    let retry = Reply::to(service.booking("k")).await;
    assert_eq!(retry.status, 503, "{retry:?}");
    assert_eq!(ready(&service).await, 503);

    lead(&proxy, &primary);
    let replay = claim(&store, &hold_on(owner.id), &request()).await;
    assert!(matches!(replay, Ok(Claim::Completed { .. })), "{replay:?}");
    let replay = Reply::to(service.booking("k")).await;
    assert_eq!((replay.is_replay(), &replay.body), (true, &first.body));
    assert_eq!(ready(&service).await, 200);
}

/// Bookings and keys may be in two databases: each of them makes the service unready.
// proves: store-down-nothing-runs, read-only-store-refused
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_service_whose_server_only_reads_is_not_ready_until_it_writes_again() {
    for keys in ["same", "memory:", "elsewhere"] {
        let Some(url) = database().await else { return };
        let options = match keys {
            "elsewhere" => ["--database", "memory:", "--idempotency-store", &url],
            _ => ["--database", &url, "--idempotency-store", keys],
        };
        let service = Service::start(&options);
        assert_eq!(ready(&service).await, 200);
        sql(&url, &read_only(&url, "on")).await;
        sql(&url, END_ALL).await;
        assert_eq!(ready(&service).await, 503, "{keys}");
        let refused = Reply::to(service.booking("k")).await;
        assert_eq!(refused.status, 503, "{refused:?}");

        // This session is read-only by default too, so it asks for `read write`.
        let writing = format!("begin read write; {}; commit", read_only(&url, "off"));
        sql(&url, &writing).await;
        sql(&url, END_ALL).await;
        let booked = within_a_minute("a booking", async {
            loop {
                let booked = Reply::to(service.booking("k")).await;
                if booked.status == 201 {
                    return booked;
                }
            }
        });
        assert!(!booked.await.is_replay());
        assert_eq!(ready(&service).await, 200);
        assert_eq!(service.bookings().await, 1);
    }
}

fn read_only(url: &str, value: &str) -> String {
    let name = name(url);
    format!("alter database {name} set default_transaction_read_only = {value}")
}

async fn ready(service: &Service) -> u16 {
    let ready = Reply::to(service.request(Method::GET, "/readyz")).await;
    ready.status.as_u16()
}

/// Leads new connections to this server, and closes the old ones.
fn lead(proxy: &Proxy, server: &PostgresServer) {
    let address = format!("127.0.0.1:{}", server.port());
    proxy.lead_to(address.parse().expect("an address"));
    proxy.darken(std::time::Duration::ZERO, DarkEnd::Cut, || true);
}
