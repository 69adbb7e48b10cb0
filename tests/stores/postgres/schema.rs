//! The tables: made by one call, by hand, by many callers concurrently, or by another version.

use std::error::Error;

use bytes::Bytes;
use idempotency::{
    PostgresStore, Store,
    store::{Claim, PostgresStoreError, StoreErrorKind},
};
use sqlx::{Connection, PgConnection, PgPool, Row, postgres::PgPoolOptions, raw_sql};
use tokio::task::JoinSet;

use super::{database, hold_on, name, new_hold, request, sql, until};
use crate::{claim, won};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_sessions_make_the_tables_concurrently() {
    let Some(url) = database().await else { return };
    let mut services = JoinSet::new();
    for _ in 0..20 {
        let url = url.clone();
        services.spawn(async move {
            let store = PostgresStore::connect(&url).await.expect("a store");
            store.create_schema().await.expect("the tables");
            let claimed = claim(&store, &new_hold(), &request())
                .await
                .expect("a claim");
            assert_eq!(claimed, won(1));
        });
    }
    services.join_all().await;
    let versions = sql(&url, "select version from idempotency_schema").await;
    assert_eq!(versions.len(), 1);
    assert_eq!(versions[0].get::<i32, _>(0), 1);
}

#[tokio::test]
async fn tables_that_were_made_by_hand_need_no_right_to_make_any() {
    let Some(url) = database().await else { return };
    sql(&url, PostgresStore::SCHEMA).await;
    sql(&url, PostgresStore::SCHEMA).await;
    let store = PostgresStore::connect(&as_service(&url).await)
        .await
        .expect("a store");
    let claimed = claim(&store, &new_hold(), &request())
        .await
        .expect("a claim");
    assert_eq!(claimed, won(1));
}

// proves: other-version-is-error
#[tokio::test]
async fn tables_of_the_first_releases_get_what_they_lack_from_who_owns_them() {
    let Some(url) = database().await else { return };
    let store = PostgresStore::connect(&url).await.expect("a store");
    let (ended, running) = (new_hold(), new_hold());
    for hold in [&ended, &running] {
        claim(&store, hold, &request()).await.expect("a claim");
    }
    let outcome = Bytes::from_static(b"booked");
    let completed = store.complete(&ended, outcome.clone()).await;
    completed.expect("a completion");
    drop(store);
    sql(
        &url,
        "alter table idempotency_records drop column spent,
             drop column created_at, drop column completed_at, drop column route, drop column label",
    )
    .await;
    sql(&url, "alter table idempotency_schema drop column mark").await;

    let service = as_service(&url).await;
    let refused = PostgresStore::connect(&service).await;
    let refused = refused.expect_err("a refusal");
    assert!(
        matches!(refused, PostgresStoreError::Schema(_)),
        "{refused:?}"
    );
    let cause = refused.source().expect("a cause").to_string();
    assert!(cause.contains("must be owner"), "{cause}");

    // The migration waits a few times for a reader of the table, such as a backup, and never blocks claims for long.
    let mut reader = PgConnection::connect(&url).await.expect("a connection");
    let reads = raw_sql("begin; select from idempotency_records");
    reads.execute(&mut reader).await.expect("a read");
    let upgrading = PostgresStore::connect(&url);
    let read = async {
        until(
            &url,
            "select exists (select from pg_locks where mode = 'AccessExclusiveLock' and not granted)",
        )
        .await;
        let end = raw_sql("rollback").execute(&mut reader).await;
        end.expect("the read ends");
    };
    let (upgraded, ()) = tokio::join!(upgrading, read);
    upgraded.expect("a store");
    // When it is made by hand again, nothing is locked.
    let reads = raw_sql("begin; select from idempotency_records");
    reads.execute(&mut reader).await.expect("a read");
    sql(&url, PostgresStore::SCHEMA).await;
    let store = PostgresStore::connect(&service).await.expect("a store");
    let replayed = claim(&store, &hold_on(ended.id), &request()).await;
    let replayed = replayed.expect("a claim");
    assert!(
        matches!(&replayed, Claim::Completed { outcome: kept, .. } if *kept == outcome),
        "{replayed:?}"
    );
    let late = hold_on(running.id);
    // The first releases read tables with columns that they do not know, and do not write those.
    let versions =
        "insert into idempotency_schema (version) values (1) on conflict do nothing returning 1";
    assert!(sql(&url, versions).await.is_empty());
    let marks = sql(&url, "select mark from idempotency_schema").await;
    assert_eq!(marks.len(), 1);
    let withdrawn = store.withdraw(&late, &request()).await;
    withdrawn.expect("a withdrawal");
    let late = claim(&store, &late, &request()).await;
    let kind = late.map_err(|error| error.kind());
    assert_eq!(kind, Err(StoreErrorKind::Withdrawn));
}

// proves: other-version-is-error
#[tokio::test]
async fn tables_of_a_newer_version_are_refused() {
    let Some(url) = database().await else { return };
    PostgresStore::connect(&url).await.expect("a store");
    sql(&url, "update idempotency_schema set version = 2").await;
    let refused = PostgresStore::connect(&url).await.expect_err("a refusal");
    let newer = matches!(
        refused,
        PostgresStoreError::NewerSchema { found: 2, known: 1 }
    );
    assert!(newer, "{refused:?}");
    let store = PostgresStore::new(pool(&url));
    let refused = store.create_schema().await.expect_err("a refusal");
    assert!(refused.to_string().contains("version 2"), "{refused}");
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_says_why() {
    let wrong = PostgresStore::connect("postgres://db:port/keys").await;
    assert!(
        matches!(wrong, Err(PostgresStoreError::Url(_))),
        "{wrong:?}"
    );
    let Some(url) = database().await else { return };
    let missing = PostgresStore::connect(&format!("{url}_missing")).await;
    assert!(
        matches!(missing, Err(PostgresStoreError::Connect(_))),
        "{missing:?}"
    );
}

/// The URL of a user who may use the tables but not create any.
async fn as_service(url: &str) -> String {
    let role = format!("service_{}", name(url));
    let grant = format!(
        "create role {role} login;
         grant usage on schema moved to {role};
         grant select on moved.forward to {role};
         grant select, insert, update, delete on idempotency_records to {role};
         grant select on idempotency_schema to {role};"
    );
    sql(url, &grant).await;
    url.replace("postgres@", &format!("{role}@"))
}

fn pool(url: &str) -> PgPool {
    PgPoolOptions::new().connect_lazy(url).expect("a URL")
}
