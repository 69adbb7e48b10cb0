//! How the server finds a record.

use idempotency::{PostgresStore, Store, store::ListRequest};
use sqlx::{Row, postgres::PgPoolOptions};

use super::{database, new_hold, sql, store, together::many, until};
use crate::{
    claim,
    holds::request,
    together::{BOOKED, claim_all, complete_all, look_at_all, rivals},
};

/// A session reports what it has read at its end.
const ALONE: &str = "
    select count(*) = 0 from pg_stat_activity
    where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
";

/// How often the whole table was read, and how many entries of its indexes.
async fn scans(url: &str) -> (i64, i64) {
    until(url, ALONE).await;
    let scans = "select seq_scan from pg_stat_user_tables where relname = 'idempotency_records'";
    let entries = "select sum(idx_tup_read)::bigint from pg_stat_user_indexes where relname = 'idempotency_records'";
    (
        sql(url, scans).await[0].get(0),
        sql(url, entries).await[0].get(0),
    )
}

/// How many sweeps, which would each read all records if they read any that has not expired.
const CALLS: i64 = 300;

/// The server keeps the plans, also while the table grows.
#[tokio::test]
async fn no_step_reads_the_whole_table_however_small_it_is_at_first() {
    let Some(url) = database().await else { return };
    drop(store(&url).await);
    sql(&url, "vacuum analyze idempotency_records").await;
    let (scans_before, entries_before) = scans(&url).await;
    let pool = PgPoolOptions::new().max_connections(2).connect_lazy(&url);
    let store = PostgresStore::new(pool.expect("a URL"));
    // On both connections a sweep has the plan for an empty table.
    let (one, other) = tokio::join!(store.purge_expired(10), store.purge_expired(10));
    assert_eq!((one.ok(), other.ok()), (Some(0), Some(0)));
    // A server that chooses among plans does so at the sixth execution.
    for _ in 0..8 {
        let holds = many();
        claim_all(&store, &holds).await;
        complete_all(&store, &holds, &BOOKED).await;
        claim_all(&store, &rivals(&holds)).await;
        look_at_all(&store, &holds).await;
        let [released, withdrawn] = [new_hold(), new_hold()];
        claim(&store, &released, &request()).await.expect("a claim");
        store.renew(&released).await.expect("a renewal");
        store.release(&released).await.expect("a release");
        let asked = request();
        let withdrawal = store.withdraw(&withdrawn, &asked).await;
        withdrawal.expect("a withdrawal");
        store.list(&ListRequest::new(10)).await.expect("a list");
        store.purge_expired(10).await.expect("a sweep");
        store.live_records().await.expect("a number");
    }
    for _ in 0..CALLS {
        store.purge_expired(10).await.expect("a sweep");
    }
    let kept = store.live_records().await.expect("a number");
    let kept = i64::try_from(kept.expect("a number")).expect("a small number");
    drop(store);
    let (scans, entries) = scans(&url).await;
    assert_eq!(scans, scans_before);
    // A plan that finds its records through an index may still read all of it.
    let read = entries - entries_before;
    assert!(read < CALLS * kept / 2, "{read} entries for {kept} records");
}
