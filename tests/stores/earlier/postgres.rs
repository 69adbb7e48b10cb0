//! A database of PostgreSQL: its tables and rows, as statements.

use sqlx::{AssertSqlSafe, Connection, PgConnection, raw_sql};
use tests::servers::postgres::PostgresServer;

/// The statements of `pg_dump`, without its comments and its settings, some of which other versions of the server refuse.
pub(super) fn save(server: &PostgresServer, url: &str) -> Vec<u8> {
    let mut statements = String::new();
    for line in server.dump(url).lines() {
        let is_left_out = ["--", "\\", "SET ", "SELECT pg_catalog.set_config"]
            .iter()
            .any(|start| line.starts_with(start));
        if !line.is_empty() && !is_left_out {
            statements.push_str(line);
            statements.push('\n');
        }
    }
    statements.into_bytes()
}

pub(super) async fn restore(url: &str, records: &[u8]) {
    let statements = String::from_utf8(records.to_vec()).expect("text");
    let mut connection = PgConnection::connect(url).await.expect("a connection");
    let restored = raw_sql(AssertSqlSafe(statements))
        .execute(&mut connection)
        .await;
    restored.expect("the rows");
}
