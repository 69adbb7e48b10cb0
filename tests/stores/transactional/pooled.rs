//! Transactions of each client through PgBouncer, which lends a server process to another client after each of them.

use std::sync::Arc;

use idempotency::PostgresStore;
use rstest::rstest;
use sqlx::{Row, postgres::PgConnectOptions, raw_sql};
use tokio::task::JoinSet;

use super::{Client, ClientKind, Database, Kind, Service, TransactionalApp};
use crate::postgres::{pooler, store};

/// How the store reaches the server.
#[derive(Clone, Copy, Debug)]
enum StoreRoute {
    /// Through the pooler, as the transactions do.
    Pooled,
    /// By itself, so that its waiters are woken.
    Direct,
}

/// What one client prepares under a name would be missing in the next process, or be another client's statement there.
// proves: rows-and-key-commit-together
#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_booking_through_a_pooler_is_committed_once_and_replayed(
    #[values(ClientKind::Sqlx09, ClientKind::Sqlx08, ClientKind::TokioPostgres)] client: ClientKind,
    #[values(StoreRoute::Pooled, StoreRoute::Direct)] route: StoreRoute,
) {
    let Some(app) = TransactionalApp::new(Kind::Postgres(client)).await else {
        return;
    };
    let Some(pooler) = pooler() else { return };
    let pooled = pooler.url(&app.url);
    let url = match route {
        StoreRoute::Pooled => &pooled,
        StoreRoute::Direct => &app.url,
    };
    let mut services = Vec::new();
    for _ in 0..2 {
        let store: PostgresStore = store(url).await;
        let is_pooled = store.is_pooled().await.expect("a response");
        assert_eq!(is_pooled, matches!(route, StoreRoute::Pooled));
        let database = Database::Postgres(app.admin().clone(), Client::pooled(client, &pooled));
        services.push(Service::start(database, Arc::new(store)).await);
    }
    let mut bookings = JoinSet::new();
    for number in 0..24 {
        let path = ["/book/unprepared", "/leased/unprepared"][number % 2];
        let service = services[number / 2 % 2].clone();
        bookings.spawn(async move {
            let name = format!("{number:02}");
            let first = service.send(path, &name, &name).await;
            first.assert_fresh(201);
            let again = service.send(path, &name, &name).await;
            again.assert_replay(201);
            assert_eq!(again.body, first.body);
        });
    }
    bookings.join_all().await;
    for service in &services {
        assert_eq!(service.probe.failures.lock().as_slice(), [""; 0]);
    }
    let guests: Vec<_> = (0..24).map(|number| format!("{number:02}")).collect();
    assert_eq!(app.guests().await, guests);

    let options: PgConnectOptions = pooled.parse().expect("a URL");
    let options = options.extra_float_digits(None);
    let processes = sqlx::PgPool::connect_lazy_with(options);
    for _ in 0..20 {
        let prepared = raw_sql("select count(*) from pg_prepared_statements")
            .fetch_one(&processes)
            .await
            .expect("a number");
        assert_eq!(prepared.get::<i64, _>(0), 0);
    }
}
