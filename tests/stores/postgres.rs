//! `PostgresStore` on servers that the tests start, directly and through PgBouncer.

mod clock;
mod commits;
mod darkness;
mod deafness;
mod failures;
mod labels;
mod live;
mod locks;
mod outages;
mod plans;
mod pooling;
mod read_only;
pub(crate) mod round_trips;
mod schema;
mod stragglers;
mod strays;
mod together;
mod transport;
pub(crate) mod waking;
mod withdrawals;

use std::sync::OnceLock;

use idempotency::{
    IdempotencyKey, PostgresStore, Scope, conformance::TestStore, conformance_tests, store::Hold,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, postgres::PgRow, raw_sql};
use tests::{
    servers::{
        pgbouncer::PgBouncer,
        postgres::{PostgresServer, advance, make_clock_movable},
    },
    test_stores::in_postgres,
};

use crate::{
    holds::{hold_on, new_hold, request},
    proxy::Proxy,
    within_a_minute,
};

mod direct {
    use super::*;

    conformance_tests!(in_postgres);
    conformance_tests!(wakeups: in_postgres);
}

mod through_pgbouncer {
    use super::*;

    conformance_tests!(open_through_pgbouncer);
    conformance_tests!(wakeups: open_through_pgbouncer);
}

/// Under this isolation a claim that loses a race gets an error, which is not an outage.
// proves: lost-claim-as-outage
mod serializable {
    use super::*;

    conformance_tests!(open_serializable);
    conformance_tests!(wakeups: open_serializable);
}

/// A store without records on the server that all tests share, with a pooler in between.
async fn open_through_pgbouncer() -> Option<TestStore> {
    let url = database().await?;
    let pooled = pooler()?.url(&url);
    Some(opened(&pooled, url).await)
}

/// The same, with the strictest isolation that the server has.
async fn open_serializable() -> Option<TestStore> {
    let url = database().await?;
    let name = name(&url);
    let strict =
        format!("alter database {name} set default_transaction_isolation = 'serializable'");
    sql(&url, &strict).await;
    Some(opened(&url, url.clone()).await)
}

async fn opened(url: &str, direct: String) -> TestStore {
    TestStore::new(store(url).await, move |time| advance(&direct, time))
}

/// A database whose clock can be moved.
pub(crate) async fn database() -> Option<String> {
    let url = PostgresServer::shared()?.database().await;
    make_clock_movable(&url).await;
    Some(url)
}

fn name(url: &str) -> &str {
    url.rsplit('/').next().expect("a name")
}

/// The pooler that all tests share.
pub(crate) fn pooler() -> Option<&'static PgBouncer> {
    static SHARED: OnceLock<Option<PgBouncer>> = OnceLock::new();
    SHARED
        .get_or_init(|| PgBouncer::start(PostgresServer::shared()?))
        .as_ref()
}

pub(crate) async fn store(url: &str) -> PostgresStore {
    PostgresStore::connect(url).await.expect("a store")
}

/// A proxy in front of the server that all tests share, and the URL of this database behind it.
pub(crate) async fn behind_a_proxy(url: &str) -> (Proxy, String) {
    let (front, name) = url.rsplit_once('/').expect("a URL");
    let server = front.rsplit_once('@').expect("a host").1;
    let proxy = Proxy::to(server.parse().expect("an address")).await;
    let url = format!("postgres://postgres@{}/{name}", proxy.address());
    (proxy, url)
}

async fn connection(url: &str) -> PgConnection {
    PgConnection::connect(url).await.expect("a connection")
}

/// The result of these statements, on a new connection.
pub(crate) async fn sql(url: &str, statements: &str) -> Vec<PgRow> {
    let mut connection = connection(url).await;
    let rows = raw_sql(AssertSqlSafe(statements)).fetch_all(&mut connection);
    let rows = rows.await.expect("a reply");
    connection.close().await.expect("an end");
    rows
}

/// Repeats this query until it returns true.
pub(crate) async fn until(url: &str, question: &str) {
    let mut connection = connection(url).await;
    let asked = async {
        loop {
            let response = raw_sql(AssertSqlSafe(question)).fetch_one(&mut connection);
            // The table does not exist yet, or the query returned false.
            if response
                .await
                .is_ok_and(|row| row.try_get(0).unwrap_or(false))
            {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    within_a_minute(question, asked).await;
}

/// The id as the server writes it.
fn hex(hold: &Hold) -> String {
    let digits = hold.id.as_bytes().iter().map(|byte| format!("{byte:02x}"));
    format!("\\x{}", digits.collect::<String>())
}

/// The scope and the key of work that an engine runs.
fn named(key: &str) -> (Scope, IdempotencyKey) {
    let key = IdempotencyKey::new(key).expect("a key");
    (Scope::principal("tests"), key)
}
