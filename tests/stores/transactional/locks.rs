//! Transactions of other services that have written the key's record, and stall before their commit.

use std::sync::Arc;

use futures_util::future::join_all;
use idempotency::{PostgresStore, store::RecordId};
use rstest_reuse::apply;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, postgres::PgPoolOptions, raw_sql};

use super::{Client, ClientKind, Database, Kind, Service, TransactionalApp, each_driver};
use crate::{postgres::until, within_a_minute};

const MAX_CONNECTIONS: u32 = 5;

const SESSION_WAITS: &str = "
    select exists (
        select from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'
    )
";

/// As many services as the pool that they share has connections.
async fn services(app: &TransactionalApp) -> Vec<Service> {
    let pool = PgPoolOptions::new().max_connections(MAX_CONNECTIONS);
    let pool = pool.connect(&app.url).await.expect("a pool");
    let client = Client::Sqlx09(pool.clone());
    let mut services = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        let store = Arc::new(PostgresStore::new(pool.clone()));
        let database = Database::Postgres(pool.clone(), client.clone());
        services.push(Service::start(database, store).await);
    }
    services
}

/// A transaction that has written the record of this key, as one does whose process was stopped before its commit.
async fn standing_still(url: &str, id: RecordId) -> PgConnection {
    let digits = id.as_bytes().iter().map(|byte| format!("{byte:02x}"));
    let insert = format!(
        "begin;
         insert into idempotency_records (id, fingerprint, token, attempt, expires_at, phase, outcome)
         values ('\\x{}', '', '', 1, now() + interval '1 hour', 2, '')",
        digits.collect::<String>()
    );
    let mut session = PgConnection::connect(url).await.expect("a connection");
    let begun = raw_sql(AssertSqlSafe(insert)).execute(&mut session).await;
    begun.expect("a record");
    session
}

/// The server ends each retry's wait, so the retry's connection is back in the application's pool when it is refused.
// proves: store-down-nothing-runs, rows-and-key-commit-together, deaf-store-left-quickly
// proves: one-key-takes-pool
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_stands_still_does_not_take_the_pool() {
    let Some(app) = TransactionalApp::new(Kind::POSTGRES).await else {
        return;
    };
    let services = services(&app).await;
    let session = standing_still(&app.url, services[0].id("k")).await;
    let retries = services
        .iter()
        .map(|service| service.send("/book/now", "k", "Ann"));
    for refused in join_all(retries).await {
        assert_eq!(refused.status, 503, "{refused:?}");
        assert!(refused.text().contains("commit_failed"), "{refused:?}");
    }
    let other = within_a_minute("another key", services[0].send("/book/now", "l", "Ben"));
    assert_eq!(other.await.status, 201);
    let waiting = raw_sql(SESSION_WAITS);
    let waiting = waiting.fetch_one(app.admin()).await.expect("a reply");
    assert!(!waiting.get::<bool, _>(0));
    assert_eq!(app.guests().await, ["Ben"]);

    drop(session);
    let retry = within_a_minute("the key", async {
        loop {
            let retry = services[1].send("/book/now", "k", "Ann").await;
            if retry.status != 503 {
                return retry;
            }
        }
    });
    assert_eq!(retry.await.status, 201);
    assert_eq!(app.guests().await, ["Ann", "Ben"]);
}

/// The timeout of the record's statement ends with the transaction, committed or not.
#[tokio::test]
async fn the_applications_own_transactions_wait_as_it_says_itself() {
    let Some(app) = TransactionalApp::new(Kind::POSTGRES).await else {
        return;
    };
    let pool = PgPoolOptions::new().max_connections(1);
    let pool = pool.connect(&app.url).await.expect("a pool");
    let store = Arc::new(PostgresStore::new(pool.clone()));
    let database = Database::Postgres(pool.clone(), Client::Sqlx09(pool.clone()));
    let service = Service::start(database, store).await;
    for (path, key, status) in [
        ("/book/now", "k", 201),
        ("/book/now", "l", 503),
        ("/leased/now", "m", 503),
    ] {
        assert_eq!(service.send(path, key, "Ann").await.status, status);
        let limit = raw_sql("show lock_timeout").fetch_one(&pool).await;
        assert_eq!(limit.expect("a setting").get::<String, _>(0), "0");
    }
}

/// The server is still committing when the client's timeout ends, and does commit. The client learns that, not that
/// another run has the key.
// proves: rows-and-key-commit-together, own-claim-unrecognised, one-key-takes-pool
#[apply(each_driver)]
#[tokio::test]
async fn a_commit_that_takes_long_is_waited_for(#[case] client: ClientKind) {
    let Some(app) = TransactionalApp::new(Kind::Postgres(client)).await else {
        return;
    };
    let admin = app.admin();
    // A commit of a booking of this guest ends when the gate is open.
    let trap = "
        create table gate (is_open boolean);
        create function linger() returns trigger language plpgsql as $$
        begin
            while not exists (select from gate) loop
                perform pg_sleep(0.01);
            end loop;
            return null;
        end $$;
        create constraint trigger linger after insert on bookings deferrable initially deferred
        for each row when (new.guest = 'Ann') execute function linger();
    ";
    raw_sql(trap).execute(admin).await.expect("a trap");
    let service = app.service().await;
    let first = service.sending("/book/now", "k", "Ann");
    // The engine reads the key's record to learn what became of the commit. The commit has it locked until the server gives up.
    until(&app.url, SESSION_WAITS).await;
    until(&app.url, &format!("select not ({SESSION_WAITS})")).await;
    let open = raw_sql("insert into gate values (true)").execute(admin);
    open.await.expect("an open gate");
    let first = first.await.expect("a response");
    assert_eq!(first.status, 201, "{first:?}");
    let retry = service.send("/book/now", "k", "Ann").await;
    retry.assert_replay(201);
    assert_eq!(app.guests().await, ["Ann"]);
    assert_eq!(service.runs(), 1);
}
