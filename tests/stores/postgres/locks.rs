//! Another session that stalls in the middle of a step, as that of a stopped process does.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use idempotency::{
    Idempotency, PostgresStore, Rejection, Run, RunError, Store,
    store::{Claim, Hold, IfOwner, Resolution, StoreErrorKind},
};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{
    AssertSqlSafe, PgConnection, Row,
    postgres::{PgConnectOptions, PgPoolOptions},
    raw_sql,
};
use tests::reply::Reply;

use super::{database, hex, hold_on, named, new_hold, pooler, request, sql, store, until};
use crate::{claim, service::Service, within_a_minute, won};

/// Does this with a database directly and with another one through the pooler, concurrently: most of it waits until the
/// server gives up. It gets the database's URL, and the one that its stores use.
async fn directly_and_pooled(test: impl AsyncFn(String, String)) {
    let (Some(url), Some(pooled)) = (database().await, database().await) else {
        return;
    };
    let Some(pooler) = pooler() else { return };
    let through = pooler.url(&pooled);
    let direct = Box::pin(test(url.clone(), url));
    tokio::join!(direct, Box::pin(test(pooled, through)));
}

/// Returns once the server has given up each current wait for a lock. New waits may have begun since.
async fn until_given_up(url: &str) {
    let now = sql(url, "select clock_timestamp()::text").await;
    let now: String = now[0].get(0);
    let is_over = format!(
        "select not exists (
             select from pg_stat_activity
             where datname = current_database() and wait_event_type = 'Lock' and query_start < '{now}'
         )"
    );
    until(url, &is_over).await;
}

/// Begins this in a new session and does not end it.
async fn standing_still(url: &str, statement: &str) -> PgConnection {
    let mut connection = super::connection(url).await;
    let statement = AssertSqlSafe(format!("begin; {statement}"));
    let begun = raw_sql(statement).execute(&mut connection).await;
    begun.expect("a step in the middle");
    connection
}

async fn go_on(mut session: PgConnection) {
    let ended = raw_sql("rollback").execute(&mut session).await;
    ended.expect("an end");
}

fn insert(hold: &Hold) -> String {
    format!(
        "insert into idempotency_records (id, fingerprint, token, attempt, expires_at, phase, lease_until)
         values ('{}', '', '', 1, now(), 1, now())",
        hex(hold)
    )
}

fn lock(hold: &Hold) -> String {
    format!(
        "select from idempotency_records where id = '{}' for update",
        hex(hold)
    )
}

/// Five connections, five claims of one key that another session is writing, and a claim of another key.
// proves: running-duplicate-gets-409, deaf-store-left-quickly, one-key-takes-pool
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_key_that_is_being_written_is_in_progress_and_takes_no_connection_from_others() {
    directly_and_pooled(async |url, way| {
        let direct = store(&url).await;
        let pool = PgPoolOptions::new().max_connections(5);
        let options: PgConnectOptions = way.parse().expect("a URL");
        let options = options.extra_float_digits(None);
        let store = PostgresStore::new(pool.connect_lazy_with(options));
        // An unused key, and one whose lease has expired.
        let (unused, lapsed) = (new_hold(), new_hold());
        let over = lapsed.clone().with_lease(Duration::ZERO);
        claim(&direct, &over, &request()).await.expect("a claim");
        for (hold, statement) in [(&unused, insert(&unused)), (&lapsed, lock(&lapsed))] {
            let session = standing_still(&url, &statement).await;
            let retries = (0..5).map(|_| async {
                let claimed = claim(&store, &hold_on(hold.id), &request()).await;
                let fingerprint = request();
                assert_eq!(claimed.ok(), Some(Claim::in_flight(fingerprint)));
            });
            let other = async {
                let claimed = claim(&store, &new_hold(), &request()).await;
                assert_eq!(claimed.ok(), Some(won(1)));
            };
            tokio::join!(join_all(retries), other);
            // The server has given up by itself.
            until_given_up(&url).await;
            go_on(session).await;
            let claimed = claim(&store, &hold_on(hold.id), &request()).await;
            assert!(matches!(claimed, Ok(Claim::Won { .. })), "{claimed:?}");
        }
    })
    .await;
}

/// All steps, the owner's and those of others, are refused after a while, and work once the row is free.
// proves: store-down-nothing-runs, deaf-store-left-quickly, one-key-takes-pool
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_server_gives_up_each_step_whose_row_is_locked() {
    directly_and_pooled(async |url, way| {
        let store = store(&way).await;
        let owner = new_hold();
        claim(&store, &owner, &request()).await.expect("a claim");
        let session = standing_still(&url, &lock(&owner)).await;
        let asked = request();
        let resolve = || async {
            let outcome = Resolution::Complete {
                outcome: Bytes::new(),
                ttl: owner.ttl,
            };
            store.resolve(&owner.id, &owner.token, outcome).await
        };
        let kinds = tokio::join!(
            async { store.renew(&owner).await.map(drop) },
            async { store.checkpoint(&owner, Bytes::new()).await.map(drop) },
            async { store.suspend(&owner, Bytes::new()).await.map(drop) },
            async { store.complete(&owner, Bytes::new()).await.map(drop) },
            async { store.release(&owner).await.map(drop) },
            async { store.withdraw(&owner, &asked).await },
            async { resolve().await.map(drop) },
        );
        let (renew, checkpoint, suspend, complete, release, withdraw, resolved) = kinds;
        for refused in [
            renew, checkpoint, suspend, complete, release, withdraw, resolved,
        ] {
            let kind = refused.map_err(|error| error.kind());
            assert_eq!(kind, Err(StoreErrorKind::Unavailable));
        }
        until_given_up(&url).await;
        go_on(session).await;
        // None of them did anything.
        assert_eq!(store.renew(&owner).await.ok(), Some(IfOwner::Done(())));
        let completed = store.complete(&owner, Bytes::new()).await;
        assert!(matches!(completed, Ok(IfOwner::Done(_))), "{completed:?}");
    })
    .await;
}

/// A lock on the table does not mean that this key is in use.
// proves: store-down-nothing-runs, deaf-store-left-quickly, one-key-takes-pool
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_locked_table_refuses_every_request_and_leaves_no_process_behind() {
    directly_and_pooled(async |url, way| {
        let store = store(&way).await;
        let engine = Idempotency::new(store.clone());
        let owner = new_hold();
        claim(&store, &owner, &request()).await.expect("a claim");
        let lock = "lock table idempotency_records in access exclusive mode";
        let session = standing_still(&url, lock).await;
        let keys = ["one", "two", "three"];
        let run = |key: &'static str| {
            let engine = engine.clone();
            async move {
                let (scope, key) = named(key);
                let work = async { Ok::<_, ()>("booked".to_owned()) };
                engine.run(&scope, &key, request(), work).await
            }
        };
        for refused in join_all(keys.map(run)).await {
            let is_unavailable = matches!(&refused, Err(RunError::Rejected(Rejection::Store(_))));
            assert!(is_unavailable, "{refused:?}");
        }
        let renewed = store.renew(&owner).await.map_err(|error| error.kind());
        assert_eq!(renewed, Err(StoreErrorKind::Unavailable));
        let looked = store.inspect(&owner.id).await.map_err(|error| error.kind());
        assert_eq!(looked, Err(StoreErrorKind::Unavailable));
        until_given_up(&url).await;
        go_on(session).await;
        for key in keys {
            let run = within_a_minute("a run", async {
                loop {
                    // A claim that was refused is withdrawn in the background.
                    if let Ok(run) = run(key).await {
                        return run;
                    }
                }
            });
            assert_eq!(run.await, Run::Executed("booked".to_owned()));
        }
        assert_eq!(store.renew(&owner).await.ok(), Some(IfOwner::Done(())));
    })
    .await;
}

/// A waiter cannot ask to be notified of the end of a hold that is in the middle of a step. It polls.
// proves: duplicate-may-wait, deaf-store-left-quickly, one-key-takes-pool
#[tokio::test]
async fn a_waiter_outlasts_a_step_that_stands_still() {
    let Some(url) = database().await else { return };
    let store = store(&url).await;
    let owner = new_hold();
    claim(&store, &owner, &request()).await.expect("a claim");
    let session = standing_still(&url, &lock(&owner)).await;
    let mut subscription = store.subscribe(&owner.id);
    for _ in 0..2 {
        let looked = claim(&store, &hold_on(owner.id), &request()).await;
        let fingerprint = request();
        assert_eq!(looked.ok(), Some(Claim::in_flight(fingerprint)));
    }
    let is_awaited = "select awaited from idempotency_records";
    assert!(!sql(&url, is_awaited).await[0].get::<bool, _>(0));
    go_on(session).await;
    let released = store.release(&owner).await;
    assert_eq!(released.ok(), Some(IfOwner::Done(())));
    within_a_minute("a poll", subscription.changed()).await;
}

/// `core-api`'s own statements do not wait longer for their rows either.
// proves: deaf-store-left-quickly, one-key-takes-pool
#[tokio::test]
async fn a_booking_that_another_session_has_locked_is_not_changed_and_leaves_no_process_behind() {
    let Some(url) = database().await else { return };
    let service = Service::start(&["--database", &url]);
    let booked = Reply::to(service.booking("k")).await;
    let booked: Value = serde_json::from_slice(&booked.body).expect("JSON");
    let path = format!("/bookings/{}", booked["id"].as_str().expect("an id"));
    let change = || {
        let change = service.request(Method::PATCH, &path);
        let change = change.header("Idempotency-Key", "l");
        Reply::to(change.json(&json!({ "customer_name": "Ben" })))
    };
    let session = standing_still(&url, "select from bookings for update").await;
    let refused = change().await;
    assert_eq!(refused.status, 503, "{refused:?}");
    until_given_up(&url).await;
    go_on(session).await;
    let changed = change().await;
    changed.assert_fresh(200);
}

// proves: deaf-store-left-quickly, one-key-takes-pool
#[tokio::test]
async fn reads_that_meet_a_locked_table_leave_no_process_behind() {
    let Some(url) = database().await else { return };
    let service = Service::start(&["--database", &url]);
    let lock = "lock table bookings in access exclusive mode";
    let session = standing_still(&url, lock).await;
    let reads = (0..25).map(|_| Reply::to(service.request(Method::GET, "/bookings")));
    for read in join_all(reads).await {
        assert_eq!(read.status, 503, "{read:?}");
    }
    until_given_up(&url).await;
    go_on(session).await;
    let read = Reply::to(service.request(Method::GET, "/bookings")).await;
    assert_eq!(read.status, 200, "{read:?}");
}
