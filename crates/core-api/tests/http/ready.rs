//! Whether the service says that it is ready.

use std::time::Duration;

use rusqlite::Connection;
use tempfile::tempdir;
use tokio::time::timeout;

use crate::server::Server;

async fn until_ready_says(server: &Server, status: u16) {
    let asking = async { while server.get("/readyz").await.status != status {} };
    timeout(Duration::from_secs(60), asking)
        .await
        .expect("it changes within a minute");
}

// proves: deaf-store-left-quickly, one-key-takes-pool
#[tokio::test]
async fn a_service_whose_file_is_locked_is_not_ready_until_it_is_free() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    assert_eq!(server.get("/readyz").await.status, 200);
    let tool = Connection::open(directory.path().join("core-api.db")).unwrap();
    tool.execute_batch("begin immediate").unwrap();
    // The last result counts for a second.
    until_ready_says(&server, 503).await;
    assert_eq!(server.get("/readyz").await.status, 503);
    assert_eq!(server.get("/healthz").await.status, 200);
    assert_eq!(server.get("/bookings").await.status, 200);
    assert_eq!(
        server.book("k", "Ann").await.problem(503)["code"],
        "unavailable"
    );
    tool.execute_batch("rollback").unwrap();
    until_ready_says(&server, 200).await;
    assert_eq!(server.book("k", "Ann").await.status, 201);
}

// proves: deaf-store-left-quickly
#[tokio::test]
async fn a_service_with_its_keys_elsewhere_is_not_ready_while_the_file_of_its_bookings_is_locked() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--idempotency-store", "memory:"]);
    assert_eq!(server.get("/readyz").await.status, 200);
    let tool = Connection::open(directory.path().join("core-api.db")).unwrap();
    tool.execute_batch("begin immediate").unwrap();
    until_ready_says(&server, 503).await;
    tool.execute_batch("rollback").unwrap();
    until_ready_says(&server, 200).await;
    let versions = tool.query_row("select count(*) from bookings_schema", (), |row| row.get(0));
    assert_eq!(versions, Ok(1));
}
