//! By default a booking, its key and its response are one commit in one file.

use std::{fs, path::Path};

use rusqlite::Connection;
use serde_json::json;
use tempfile::{TempDir, tempdir};

use crate::server::{Server, booking, send};

/// What [`write_all`] sends.
const WRITES: usize = 4;

// proves: rows-and-key-commit-together
#[tokio::test]
async fn a_write_with_a_key_is_one_commit_as_one_without() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    assert_eq!(
        commits_of(&directory, write_all(&server, None)).await,
        WRITES
    );
    let with_keys = write_all(&server, Some("k"));
    assert_eq!(commits_of(&directory, with_keys).await, WRITES);

    // This shows that the count works: a lease takes one commit for the claim, and the booking's commit completes it.
    drop(server);
    let leases = ["--idempotency-store", "sqlite:core-api.db"];
    let server = Server::start(directory.path(), &leases);
    let under_leases = write_all(&server, Some("l"));
    assert_eq!(commits_of(&directory, under_leases).await, 2 * WRITES);
}

// proves: replay-never-extends-ttl
#[tokio::test]
async fn a_replay_commits_nothing() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    assert_eq!(server.book("k", "Ann").await.status, 201);
    let replay = async { assert!(server.book("k", "Ann").await.is_replayed()) };
    assert_eq!(commits_of(&directory, replay).await, 0);
}

/// It is killed, so that nothing can be written after the client has its response.
// proves: rows-and-key-commit-together, stored-before-sent
#[tokio::test]
async fn a_client_with_a_response_has_the_booking_and_the_response_in_the_file() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    let first = server.book("k", "Ann").await;
    assert_eq!(first.status, 201);
    server.kill();
    assert_eq!(rows(directory.path(), "bookings"), 1);
    assert_eq!(rows(directory.path(), "idempotency_records"), 1);
    let completed = "idempotency_records where lease_until is null and outcome is not null";
    assert_eq!(rows(directory.path(), completed), 1);
}

/// Nothing is written before the commit, so a handler that fails earlier leaves its key free.
// proves: failures-free-key, panic-frees-key, rows-and-key-commit-together
#[tokio::test]
async fn a_booking_that_fails_leaves_neither_itself_nor_its_key() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--fault-injection"]);
    for (fault, value) in [("X-Fault-Status", "503"), ("X-Fault-Panic", "1")] {
        let failing = server.write("POST", "/bookings", "k", &booking("Ann"));
        let failed = send(failing.header(fault, value)).await;
        assert!(failed.status.is_server_error(), "{}", failed.status);
    }
    assert_eq!(server.book("k", "Ann").await.status, 201);
    server.kill();
    assert_eq!(rows(directory.path(), "bookings"), 1);
    assert_eq!(rows(directory.path(), "idempotency_records"), 1);
}

/// Every kind of write once, on one booking, each with a key or each without.
async fn write_all(server: &Server, keys: Option<&str>) {
    let writes = [
        ("POST", booking("Ann")),
        ("PUT", booking("Bea")),
        ("PATCH", json!({"time": "11:00"})),
        ("DELETE", json!({})),
    ];
    let mut path = "/bookings".to_owned();
    for (method, body) in writes {
        let mut request = server.request(method, &path).json(&body);
        if let Some(keys) = keys {
            request = request.header("Idempotency-Key", format!("{keys}-{method}"));
        }
        let response = send(request).await;
        assert!(response.status.is_success(), "{method}: {response:?}");
        assert!(!response.is_replayed(), "{method}: {response:?}");
        if let Some(location) = response.header("location") {
            path = location.to_owned();
        }
    }
}

/// How many commits this adds to the file.
async fn commits_of(directory: &TempDir, work: impl Future<Output = ()>) -> usize {
    let before = commits(directory.path());
    work.await;
    commits(directory.path()) - before
}

/// The frames of the write-ahead log that end a commit: those that say how large the database is after it.
/// <https://sqlite.org/fileformat2.html#walformat>
fn commits(directory: &Path) -> usize {
    let log = fs::read(directory.join("core-api.db-wal")).unwrap();
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
    let (header, frames) = log.split_at(32);
    let page = usize::try_from(number(&header[8..12])).unwrap();
    let frames = frames.chunks_exact(24 + page);
    // Frames from before the log was last restarted have other salts.
    let current = frames.take_while(|frame| frame[8..16] == header[16..24]);
    current.filter(|frame| number(&frame[4..8]) != 0).count()
}

/// How many rows there are, once the service has ended.
fn rows(directory: &Path, of: &str) -> i64 {
    let file = Connection::open(directory.join("core-api.db")).unwrap();
    let count = format!("select count(*) from {of}");
    file.query_row(&count, [], |row| row.get(0)).unwrap()
}
