//! Statements and records that fail, on a server that works.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use idempotency::{
    Idempotency, OnDuplicate, Options, PostgresStore, Run, Store,
    store::{Claim, IfOwner, ListRequest, RecordId, StoreErrorKind},
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgPoolOptions, raw_sql};
use tokio::task::JoinSet;

use super::{database, hex, hold_on, name, named, new_hold, request, sql, store, until};
use crate::{claim, won};

/// Ends every other connection of the database.
const END_ALL: &str = "
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()
";

/// Ends the connections whose statement waits for a lock.
const END_BLOCKED: &str = "
    select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock'
";

const IS_BLOCKED: &str = "
    select exists (
        select from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'
    )
";

// proves: own-claim-unrecognised
#[tokio::test]
async fn connections_that_were_ended_while_idle_are_not_noticed() {
    let Some(url) = database().await else { return };
    let store = store(&url).await;
    let hold = new_hold();
    let won = won(1);
    assert_eq!(claim(&store, &hold, &request()).await.ok(), Some(won));
    sql(&url, END_ALL).await;
    assert_eq!(store.renew(&hold).await.ok(), Some(IfOwner::Done(())));
    sql(&url, END_ALL).await;
    let kept = store.checkpoint(&hold, Bytes::from_static(b"charged"));
    assert_eq!(kept.await.ok(), Some(IfOwner::Done(())));
    sql(&url, END_ALL).await;
    let done = store.complete(&hold, Bytes::from_static(b"booked")).await;
    assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
    sql(&url, END_ALL).await;
    let replay = claim(&store, &hold_on(hold.id), &request()).await;
    assert!(matches!(replay, Ok(Claim::Completed { .. })), "{replay:?}");
}

// proves: own-claim-unrecognised
#[tokio::test]
async fn a_claim_whose_connection_is_ended_in_the_middle_is_won_once() {
    let Some(url) = database().await else { return };
    let store = store(&url).await;
    let hold = new_hold();
    // Another claim that is not committed yet keeps this one waiting, and goes in the end.
    let mut other = PgConnection::connect(&url).await.expect("a connection");
    let mut uncommitted = other.begin().await.expect("a transaction");
    let insert = format!(
        "insert into idempotency_records (id, fingerprint, token, attempt, expires_at, phase, lease_until)
         values ('{}', '', '', 1, now(), 1, now())",
        hex(&hold)
    );
    raw_sql(AssertSqlSafe(insert))
        .execute(&mut *uncommitted)
        .await
        .expect("a record");
    let claiming = tokio::spawn({
        let (store, hold) = (store.clone(), hold.clone());
        async move { claim(&store, &hold, &request()).await }
    });
    until(&url, IS_BLOCKED).await;
    assert_eq!(sql(&url, END_BLOCKED).await.len(), 1);
    uncommitted.rollback().await.expect("a rollback");
    let won = won(1);
    assert_eq!(claiming.await.expect("the claim").ok(), Some(won.clone()));
    assert_eq!(claim(&store, &hold, &request()).await.ok(), Some(won));
}

// proves: failed-completion-keeps-key, failed-completion-frees-key
#[tokio::test]
async fn a_completion_whose_connection_is_ended_in_the_middle_is_done() {
    let Some(url) = database().await else { return };
    let store = store(&url).await;
    let hold = new_hold();
    claim(&store, &hold, &request()).await.expect("a claim");
    let mut other = PgConnection::connect(&url).await.expect("a connection");
    let mut locking = other.begin().await.expect("a transaction");
    raw_sql("select from idempotency_records for update")
        .execute(&mut *locking)
        .await
        .expect("a lock");
    let completing = tokio::spawn({
        let (store, hold) = (store.clone(), hold.clone());
        async move { store.complete(&hold, Bytes::from_static(b"booked")).await }
    });
    until(&url, IS_BLOCKED).await;
    assert_eq!(sql(&url, END_BLOCKED).await.len(), 1);
    locking.rollback().await.expect("a rollback");
    let done = completing.await.expect("the completion");
    assert!(matches!(done, Ok(IfOwner::Done(_))), "{done:?}");
}

// proves: own-claim-unrecognised
#[tokio::test]
async fn a_release_whose_connection_is_ended_in_the_middle_is_done() {
    let Some(url) = database().await else { return };
    let store = store(&url).await;
    let hold = new_hold();
    claim(&store, &hold, &request()).await.expect("a claim");
    let mut other = PgConnection::connect(&url).await.expect("a connection");
    let mut locking = other.begin().await.expect("a transaction");
    raw_sql("select from idempotency_records for update")
        .execute(&mut *locking)
        .await
        .expect("a lock");
    let releasing = tokio::spawn({
        let (store, hold) = (store.clone(), hold.clone());
        async move { store.release(&hold).await }
    });
    until(&url, IS_BLOCKED).await;
    sql(&url, END_BLOCKED).await;
    locking.rollback().await.expect("a rollback");
    let released = releasing.await.expect("the release");
    assert_eq!(released.ok(), Some(IfOwner::Done(())));
    assert_eq!(store.release(&hold).await.ok(), Some(IfOwner::NotOwner));
}

// proves: other-version-is-error, newer-record-fails-alone, damaged-record-frees-key
// proves: newer-value-fails-all
#[tokio::test]
async fn a_record_that_cannot_be_read_is_an_error_and_stays() {
    let Some(url) = database().await else { return };
    let store = store(&url).await;
    for damage in [
        "phase = 4",
        "phase = 2",
        "lease_until = null",
        "lease_until = 'infinity'",
        "expires_at = 'infinity'",
        "fingerprint = '\\x02'",
        "token = ''",
        "attempt = -1",
    ] {
        let hold = new_hold();
        claim(&store, &hold, &request()).await.expect("a claim");
        let id = hex(&hold);
        let damage = format!("update idempotency_records set {damage} where id = '{id}'");
        sql(&url, &damage).await;
        for claim in [
            claim(&store, &hold, &request()).await,
            claim(&store, &hold_on(hold.id), &request()).await,
        ] {
            let kind = claim.map_err(|error| error.kind());
            assert_eq!(kind, Err(StoreErrorKind::Unreadable), "{damage}");
        }
        let inspected = store.inspect(&hold.id).await;
        let kind = inspected.map_err(|error| error.kind());
        assert_eq!(kind, Err(StoreErrorKind::Unreadable), "{damage}");
        // It hides no other record, whether it is the first or the last.
        let mut others = [new_hold(), new_hold()];
        others[0].id = RecordId::from_bytes([0; 32]);
        others[1].id = RecordId::from_bytes([255; 32]);
        for other in &others {
            claim(&store, other, &request()).await.expect("a claim");
        }
        let listed = store.list(&ListRequest::new(10)).await.expect("a list");
        let kinds = listed
            .into_iter()
            .map(|listed| (listed.id, listed.record.err().map(|error| error.kind())));
        let unreadable = (hold.id, Some(StoreErrorKind::Unreadable));
        let expected = [(others[0].id, None), unreadable, (others[1].id, None)];
        assert_eq!(kinds.collect::<Vec<_>>(), expected, "{damage}");
        for other in &others {
            let released = store.release(other).await;
            assert_eq!(released.ok(), Some(IfOwner::Done(())));
        }
        let removed = format!("delete from idempotency_records where id = '{id}' returning 1");
        assert_eq!(sql(&url, &removed).await.len(), 1, "{damage}");
        sql(&url, "delete from idempotency_records").await;
    }
}

// proves: store-down-nothing-runs, store-outage-fails-open
#[tokio::test]
async fn a_store_without_tables_runs_nothing() {
    let Some(url) = database().await else { return };
    let pool = PgPoolOptions::new().connect_lazy(&url).expect("a URL");
    let engine = Idempotency::new(PostgresStore::new(pool));
    let (scope, key) = named("k");
    let runs = Arc::new(AtomicUsize::new(0));
    let refused = engine
        .run(&scope, &key, request(), count(&runs))
        .await
        .expect_err("a refusal");
    assert!(
        format!("{refused:?}").contains("Unavailable"),
        "{refused:?}"
    );
    assert_eq!(runs.load(Ordering::SeqCst), 0);
}

// proves: duplicate-may-wait, waiters-exhaust-pool
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_duplicates_wait_without_the_only_connection() {
    let Some(url) = database().await else { return };
    store(&url).await;
    let pool = PgPoolOptions::new().max_connections(1);
    let pool = pool.connect_lazy(&url).expect("a URL");
    let engine = Idempotency::new(PostgresStore::new(pool));
    let runs = Arc::new(AtomicUsize::new(0));
    let (started, running) = tokio::sync::oneshot::channel();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let first = tokio::spawn({
        let (engine, count) = (engine.clone(), count(&runs));
        async move {
            let (scope, key) = named("k");
            let work = async move {
                started.send(()).expect("the test");
                ended.await.expect("the test");
                count.await
            };
            engine.run(&scope, &key, request(), work).await
        }
    });
    running.await.expect("the first run");
    let mut waiting = JoinSet::new();
    for _ in 0..50 {
        let (engine, count) = (engine.clone(), count(&runs));
        waiting.spawn(async move {
            let (scope, key) = named("k");
            let options = Options::new().on_duplicate(OnDuplicate::Wait);
            engine
                .run_with(&options, &scope, &key, request(), |_| count)
                .await
        });
    }
    // All of them have polled and wait, and one of them has asked to be notified.
    until(&url, "select awaited from idempotency_records").await;
    end.send(()).expect("the first run");
    let first = first.await.expect("the first run").expect("its value");
    assert_eq!(first, Run::Executed(1));
    for replay in waiting.join_all().await {
        assert_eq!(replay.expect("a replay"), Run::Replayed(1));
    }
    assert_eq!(runs.load(Ordering::SeqCst), 1, "{}", name(&url));
}

/// Work that returns how often it has run.
fn count(
    runs: &Arc<AtomicUsize>,
) -> impl Future<Output = Result<usize, ()>> + Send + 'static + use<> {
    let runs = Arc::clone(runs);
    async move { Ok(runs.fetch_add(1, Ordering::SeqCst) + 1) }
}
