//! How often the store queries the server, and how it detects a pooler in between.

use std::fs;

use bytes::Bytes;
use idempotency::{
    PostgresStore, Store,
    store::{Claim, IfOwner},
};
use sqlx::{Row, raw_sql};
use tests::servers::postgres::PostgresServer;

use super::{database, hold_on, name, new_hold, pooler, request, sql, store};
use crate::{claim, won};

/// How many statements the server has executed for this database, by its log.
fn statements(server: &PostgresServer, url: &str) -> usize {
    let database = format!("{}|", name(url));
    let log = fs::read_to_string(server.log()).expect("the server's log");
    log.lines()
        .filter(|line| line.starts_with(&database))
        .filter(|line| line.contains("LOG:  execute") || line.contains("LOG:  statement"))
        .count()
}

#[tokio::test]
async fn a_first_run_costs_two_statements_and_a_replay_one() {
    let Some(server) = PostgresServer::shared() else {
        return;
    };
    let url = database().await.expect("a database");
    let logging = format!("alter database {} set log_statement = 'all'", name(&url));
    sql(&url, &logging).await;
    let store = store(&url).await;
    // The first statement detects whether a pooler is in between.
    store.inspect(&new_hold().id).await.expect("an inspection");

    let before = statements(server, &url);
    let owner = new_hold();
    claim(&store, &owner, &request()).await.expect("a claim");
    store.complete(&owner, Bytes::new()).await.expect("an end");
    assert_eq!(statements(server, &url) - before, 2);

    let before = statements(server, &url);
    let replay = claim(&store, &hold_on(owner.id), &request()).await;
    assert!(matches!(replay, Ok(Claim::Completed { .. })), "{replay:?}");
    assert_eq!(statements(server, &url) - before, 1);

    let running = new_hold();
    claim(&store, &running, &request()).await.expect("a claim");
    let before = statements(server, &url);
    let conflict = claim(&store, &hold_on(running.id), &request()).await;
    let fingerprint = request();
    assert_eq!(conflict.ok(), Some(Claim::in_flight(fingerprint)));
    assert_eq!(statements(server, &url) - before, 1);
}

#[tokio::test]
async fn a_replay_writes_nothing() {
    let Some(url) = database().await else { return };
    let store = store(&url).await;
    let owner = new_hold();
    claim(&store, &owner, &request()).await.expect("a claim");
    store.complete(&owner, Bytes::new()).await.expect("an end");
    // A locked or written row carries the id of the transaction that did it.
    const MARKS: &str = "select xmin::text || ' ' || xmax::text from idempotency_records";
    let before: String = sql(&url, MARKS).await[0].get(0);
    claim(&store, &hold_on(owner.id), &request())
        .await
        .expect("a replay");
    let after: String = sql(&url, MARKS).await[0].get(0);
    assert_eq!(after, before);
}

#[tokio::test]
async fn a_pooler_is_recognised() {
    let Some(url) = database().await else { return };
    let Some(pooler) = pooler() else { return };
    let direct = store(&url).await;
    assert!(!direct.is_pooled().await.expect("a reply"));
    let pooled = store(&pooler.url(&url)).await;
    assert!(pooled.is_pooled().await.expect("a reply"));
}

/// Two clients of a pooler that prepare statements under one name would execute each other's.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_stays_prepared_in_a_pooler() {
    let Some(url) = database().await else { return };
    let Some(pooler) = pooler() else { return };
    let url = pooler.url(&url);
    let stores = [store(&url).await, store(&url).await];
    let mut works = tokio::task::JoinSet::new();
    for number in 0..40 {
        let store: PostgresStore = stores[number % 2].clone();
        works.spawn(async move {
            let owner = new_hold();
            let claimed = claim(&store, &owner, &request()).await.expect("a claim");
            assert_eq!(claimed, won(1));
            let renewed = store.renew(&owner).await.expect("a renewal");
            assert_eq!(renewed, IfOwner::Done(()));
            let released = store.release(&owner).await.expect("a release");
            assert_eq!(released, IfOwner::Done(()));
        });
    }
    works.join_all().await;
    for _ in 0..20 {
        let prepared = raw_sql("select count(*) from pg_prepared_statements")
            .fetch_one(stores[0].pool())
            .await
            .expect("a number");
        assert_eq!(prepared.get::<i64, _>(0), 0);
    }
}
