//! Transactions in another PostgreSQL database than the keys, or in another schema of it.

use std::sync::Arc;

use idempotency::{
    PostgresStore,
    store::{IfOwner, Phase, Resolution},
};
use rstest_reuse::apply;
use sqlx::{AssertSqlSafe, PgPool, raw_sql};

use super::{
    CREATE, Client, ClientKind, Database, Kind, Service, TransactionalApp, each_driver, pool,
};

/// Where the transactions are, if not in the keys' database.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// In a database that has keys of its own.
    WithKeys,
    /// In a database that has none.
    WithoutKeys,
    /// In a copy of the database, as its server makes one.
    Copy,
    /// In another schema of the same database, with copies of its tables.
    Schema,
}

const PLACES: [Place; 4] = [
    Place::WithKeys,
    Place::WithoutKeys,
    Place::Copy,
    Place::Schema,
];

const COPY_TABLES: &str = "
    create schema copy;
    create table copy.bookings (like bookings including all);
    create table copy.idempotency_records (like idempotency_records including all);
    create table copy.idempotency_schema as table idempotency_schema;
";

impl TransactionalApp {
    /// A service with bookings there, and its keys here.
    async fn service_elsewhere(&self, place: Place, client: ClientKind) -> Service {
        let store = PostgresStore::new(PgPool::connect_lazy(&self.url).expect("a URL"));
        self.service_over(place, client, store).await
    }

    async fn service_over(
        &self,
        place: Place,
        client: ClientKind,
        store: PostgresStore,
    ) -> Service {
        let (front, name) = self.url.rsplit_once('/').expect("a URL");
        let url = match place {
            Place::Schema => {
                let copied = raw_sql(COPY_TABLES).execute(self.admin()).await;
                copied.expect("copies");
                format!("{}?options=-c%20search_path%3Dcopy", self.url)
            }
            Place::WithKeys | Place::WithoutKeys | Place::Copy => {
                let other = format!("{name}_{place:?}").to_lowercase();
                let template = match place {
                    // No other session may be connected: the server copies no database that is in use.
                    Place::Copy => format!("template {name}"),
                    _ => String::new(),
                };
                let create = format!("create database {other} {template}");
                let admin = pool(&format!("{front}/postgres")).await;
                let created = raw_sql(AssertSqlSafe(create)).execute(&admin).await;
                created.expect("a database");
                format!("{front}/{other}")
            }
        };
        let there = pool(&url).await;
        if matches!(place, Place::WithKeys | Place::WithoutKeys) {
            raw_sql(CREATE).execute(&there).await.expect("a table");
        }
        if matches!(place, Place::WithKeys) {
            let store = PostgresStore::new(there.clone());
            store.create_schema().await.expect("tables");
        }
        let client = Client::new(client, &url, 10).await;
        Service::start(Database::Postgres(there, client), Arc::new(store)).await
    }
}

impl Service {
    /// A count in the database of the bookings.
    async fn count(&self, table: &str) -> i64 {
        let Database::Postgres(pool, _) = &self.database else {
            panic!("it is one of PostgreSQL");
        };
        let count = format!("select count(*) from {table}");
        let counted = sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(pool);
        counted.await.expect("a count")
    }
}

async fn app() -> Option<TransactionalApp> {
    let app = TransactionalApp::new(Kind::POSTGRES).await?;
    // No connection may be open to a database that is copied.
    let Database::Postgres(pool, Client::Sqlx09(other)) = &app.database else {
        panic!("it is one of PostgreSQL");
    };
    pool.close().await;
    other.close().await;
    let reopened = PgPool::connect_lazy(&app.url).expect("a URL");
    Some(TransactionalApp {
        database: Database::Postgres(reopened, Client::TokioPostgres(String::new())),
        ..app
    })
}

/// No retry would find a record in the bookings' database, and the booking would be made again.
// proves: rows-and-key-commit-together
#[apply(each_driver)]
#[tokio::test]
async fn a_transaction_in_another_database_than_its_key_is_refused(#[case] client: ClientKind) {
    for place in PLACES {
        let Some(app) = app().await else { return };
        let service = app.service_elsewhere(place, client).await;
        for _ in 0..2 {
            let refused = service.send("/book/now", "k", "Ann").await;
            assert_eq!(refused.status, 500, "{place:?}: {refused:?}");
            let said = service.probe.failures.lock().concat();
            assert!(said.contains("another PostgreSQL database"), "{said}");
            assert_eq!(service.count("bookings").await, 0, "{place:?}");
            assert!(service.record("k").await.is_none());
            if !matches!(place, Place::WithoutKeys) {
                assert_eq!(service.count("idempotency_records").await, 0, "{place:?}");
            }
        }
    }
}

/// Under a lease the two are committed one after the other.
// proves: lost-lease-stores-nothing, failed-completion-keeps-key
#[apply(each_driver)]
#[tokio::test]
async fn a_leased_run_commits_elsewhere_and_its_response_is_stored_afterwards(
    #[case] client: ClientKind,
) {
    for place in PLACES {
        let Some(app) = app().await else { return };
        let service = app.service_elsewhere(place, client).await;
        for (path, key) in [
            ("/leased/now", "k"),
            ("/leased/empty", "l"),
            ("/leased/hide", "m"),
        ] {
            let first = service.send(path, key, key).await;
            assert_eq!(first.status, 201, "{place:?}: {first:?}");
            let record = service.record(key).await.expect("a record");
            assert!(
                matches!(record.phase, Phase::Completed { .. }),
                "{record:?}"
            );
            let retry = service.send(path, key, key).await;
            assert_eq!(
                (retry.status.as_u16(), retry.is_replay()),
                (201, true),
                "{place:?}"
            );
            assert_eq!(retry.body, first.body);
        }
        assert_eq!(service.count("bookings").await, 2, "{place:?}");
        if !matches!(place, Place::WithoutKeys) {
            assert_eq!(service.count("idempotency_records").await, 0, "{place:?}");
        }
    }
}

/// A run whose key was taken meanwhile commits nothing in another database either.
// proves: lost-lease-stores-nothing
#[apply(each_driver)]
#[tokio::test]
async fn a_leased_run_that_lost_its_key_commits_nothing_elsewhere(#[case] client: ClientKind) {
    for place in PLACES {
        let Some(app) = app().await else { return };
        let service = app.service_elsewhere(place, client).await;
        let first = service.sending("/leased/stop", "k", "Ann");
        service.arrived().await;
        let held = service.record("k").await.expect("a record");
        let store = service.idempotency.store();
        let freed = store.resolve(&held.id, &held.token, Resolution::Release);
        assert_eq!(freed.await.ok(), Some(IfOwner::Done(())));
        service.pass();
        assert_eq!(first.await.expect("a response").status, 503, "{place:?}");
        assert_eq!(service.count("bookings").await, 0, "{place:?}");
    }
}

/// If the store has met only transactions in its own database, the first one elsewhere is rolled back, and its retry runs.
// proves: failed-completion-keeps-key
#[apply(each_driver)]
#[tokio::test]
async fn transactions_in_the_keys_database_and_elsewhere_can_be_in_one_program(
    #[case] client: ClientKind,
) {
    let Some(app) = app().await else { return };
    let store = PostgresStore::new(app.admin().clone());
    let elsewhere = app.service_over(Place::WithoutKeys, client, store.clone());
    let elsewhere = elsewhere.await;
    let beside = Client::new(client, &app.url, 10).await;
    let beside = Database::Postgres(app.admin().clone(), beside);
    let beside = Service::start(beside, Arc::new(store)).await;
    assert_eq!(beside.send("/leased/now", "a", "Ann").await.status, 201);
    let undone = elsewhere.send("/leased/now", "b", "Ben").await;
    assert_eq!(undone.status, 503, "{undone:?}");
    assert!(undone.text().contains("commit_failed"), "{undone:?}");
    assert_eq!(elsewhere.count("bookings").await, 0);
    let retry = elsewhere.send("/leased/now", "b", "Ben").await;
    retry.assert_fresh(201);
    // From then on the store asks.
    for key in ["c", "d"] {
        assert_eq!(beside.send("/leased/now", key, key).await.status, 201);
        let booked = elsewhere.send("/leased/now", &format!("{key}2"), key).await;
        assert_eq!(booked.status, 201, "{booked:?}");
    }
    assert_eq!(elsewhere.count("bookings").await, 3);
    assert_eq!(app.guests().await, ["Ann", "c", "d"]);
}

/// The store has rights of its own. Without them the transaction cannot carry the record, which is completed afterwards.
// proves: lost-lease-stores-nothing, failed-completion-keeps-key
#[apply(each_driver)]
#[tokio::test]
async fn a_leased_run_commits_by_a_role_that_may_not_write_records(#[case] client: ClientKind) {
    let Some(app) = TransactionalApp::new(Kind::Postgres(client)).await else {
        return;
    };
    let role = format!(
        "bookings_of_{}",
        app.url.rsplit('/').next().expect("a name")
    );
    let grant = format!(
        "create role {role} login;
         grant all on bookings to {role};
         grant usage on all sequences in schema public to {role};"
    );
    let granted = raw_sql(AssertSqlSafe(grant)).execute(app.admin()).await;
    granted.expect("a role");
    let url = app.url.replace("postgres@", &format!("{role}@"));
    for has_met_others in [false, true] {
        let store = PostgresStore::connect(&app.url).await.expect("a store");
        if has_met_others {
            let service = Service::start(app.database.clone(), Arc::new(store.clone())).await;
            assert_eq!(service.send("/leased/now", "a", "Ann").await.status, 201);
        }
        let database = Database::Postgres(pool(&url).await, Client::new(client, &url, 10).await);
        let service = Service::start(database, Arc::new(store)).await;
        let key = format!("k{has_met_others}");
        let mut first = service.send("/leased/now", &key, &key).await;
        if has_met_others {
            // It was expected to be like the one before, and rolled back.
            assert_eq!(first.status, 503, "{first:?}");
            first = service.send("/leased/now", &key, &key).await;
        }
        first.assert_fresh(201);
        let retry = service.send("/leased/now", &key, &key).await;
        retry.assert_replay(201);
    }
    assert_eq!(app.guests().await, ["Ann", "kfalse", "ktrue"]);
}

/// A prepared statement uses the tables of the search path that is set when it is executed.
// proves: rows-and-key-commit-together
#[apply(each_driver)]
#[tokio::test]
async fn a_transaction_that_changes_its_search_path_is_refused(#[case] client: ClientKind) {
    let Some(app) = TransactionalApp::new(Kind::Postgres(client)).await else {
        return;
    };
    let copied = raw_sql(COPY_TABLES).execute(app.admin()).await;
    copied.expect("copies");
    let service = app.service().await;
    for round in 0..3 {
        let (key, guest) = (format!("k{round}"), format!("guest {round}"));
        let first = service.send("/book/now", &key, &guest).await;
        assert_eq!(first.status, 201, "{first:?}");
        let moved = service.send("/book/search-path", "moved", "Ann").await;
        assert_eq!(moved.status, 500, "{moved:?}");
        assert!(service.record("moved").await.is_none());
    }
    let said = service.probe.failures.lock().concat();
    assert!(
        said.contains("another PostgreSQL database or schema"),
        "{said}"
    );
    assert_eq!(app.guests().await, ["guest 0", "guest 1", "guest 2"]);
    assert_eq!(service.count("copy.idempotency_records").await, 0);
}

/// A store that was opened by its own URL can still be in the same database.
// proves: rows-and-key-commit-together
#[apply(each_driver)]
#[tokio::test]
async fn a_store_with_connections_of_its_own_shares_the_transaction(#[case] client: ClientKind) {
    let Some(app) = TransactionalApp::new(Kind::Postgres(client)).await else {
        return;
    };
    let store = PostgresStore::connect(&app.url).await.expect("a store");
    let service = Service::start(app.database.clone(), Arc::new(store)).await;
    let first = service.send("/book/now", "k", "Ann").await;
    first.assert_fresh(201);
    assert!(service.send("/book/now", "k", "Ann").await.is_replay());
    assert_eq!(service.runs(), 1);
}

/// The tables may be replaced while the service runs, as when a database is restored.
// proves: rows-and-key-commit-together
#[apply(each_driver)]
#[tokio::test]
async fn tables_that_were_made_anew_are_the_stores_own(#[case] client: ClientKind) {
    let Some(app) = TransactionalApp::new(Kind::Postgres(client)).await else {
        return;
    };
    let service = app.service().await;
    assert_eq!(service.send("/book/now", "k", "Ann").await.status, 201);
    let dropped = raw_sql("drop table idempotency_records, idempotency_schema");
    dropped.execute(app.admin()).await.expect("no tables");
    let made = raw_sql(PostgresStore::SCHEMA).execute(app.admin()).await;
    made.expect("tables");
    let next = service.send("/book/now", "l", "Ben").await;
    next.assert_fresh(201);
    assert!(service.send("/book/now", "l", "Ben").await.is_replay());
}

/// The server writes such a table to another file, and it is the same table.
// proves: rows-and-key-commit-together
#[apply(each_driver)]
#[tokio::test]
async fn a_table_that_was_written_anew_is_the_stores_own(#[case] client: ClientKind) {
    let Some(app) = TransactionalApp::new(Kind::Postgres(client)).await else {
        return;
    };
    let service = app.service().await;
    assert_eq!(service.send("/book/now", "k", "Ann").await.status, 201);
    for (table, guest) in [
        ("idempotency_schema", "Ben"),
        ("idempotency_records", "Cleo"),
    ] {
        let vacuumed = format!("vacuum full {table}");
        let vacuumed = raw_sql(AssertSqlSafe(vacuumed)).execute(app.admin()).await;
        vacuumed.expect("a compact table");
        let next = service.send("/book/now", table, guest).await;
        next.assert_fresh(201);
        assert!(service.send("/book/now", table, guest).await.is_replay());
    }
}
