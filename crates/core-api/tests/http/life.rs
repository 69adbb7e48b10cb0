//! How the service ends, and what the next process finds.

use std::env;

use rusqlite::Connection;
use serde_json::json;
use tempfile::{TempDir, tempdir};

use crate::server::{Server, booking, command, send};

// proves: shutdown-waits-for-runs
#[tokio::test]
async fn sigterm_lets_running_requests_end_and_stores_their_responses() {
    let directory = tempdir().unwrap();
    let mut server = Server::start(directory.path(), &["--fault-injection"]);
    let slow = server
        .write("POST", "/bookings", "k", &booking("Ann"))
        .header("X-Fault-Delay-Ms", "2000");
    let slow = tokio::spawn(send(slow));
    server.wait_for_log("injected a delay").await;
    server.terminate();
    server.wait_for_log("no new connections").await;

    let first = slow.await.unwrap();
    assert_eq!(first.status, 201);
    let (status, stdout, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(stdout, "", "more than one line on standard output");

    let server = Server::start(directory.path(), &[]);
    let retry = server.book("k", "Ann").await;
    assert!(retry.is_replayed());
    assert_eq!(retry.body, first.body);
}

// proves: shutdown-waits-for-runs
#[tokio::test]
async fn a_run_whose_client_has_gone_is_waited_for_too() {
    let directory = tempdir().unwrap();
    let mut server = Server::start(directory.path(), &["--fault-injection"]);
    let slow = server
        .write("POST", "/bookings", "k", &booking("Ann"))
        .header("X-Fault-Delay-Ms", "2000");
    let slow = tokio::spawn(server.by_http2(slow).send());
    server.wait_for_log("injected a delay").await;
    slow.abort();
    server
        .wait_for_log("the client left before the response")
        .await;
    server.terminate();
    let (status, _, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");

    let server = Server::start(directory.path(), &[]);
    assert!(server.book("k", "Ann").await.is_replayed());
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let directory = tempdir().unwrap();
    let mut server = Server::start(directory.path(), &["--fault-injection"]);
    let slow = server
        .write("POST", "/bookings", "k", &booking("Ann"))
        .header("X-Fault-Delay-Ms", "600000");
    let slow = tokio::spawn(slow.send());
    server.wait_for_log("injected a delay").await;
    server.terminate();
    server.wait_for_log("no new connections").await;
    server.terminate();
    let (status, _, log) = server.wait();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(slow.await.unwrap().is_err());
}

/// Its transaction ends with it, and nothing else was written.
// proves: dead-owner-taken-over, rows-and-key-commit-together
#[tokio::test]
async fn killed_in_the_middle_it_leaves_nothing() {
    let directory = tempdir().unwrap();
    kill_in_the_middle(&directory, &["--fault-injection"]).await;
    let server = Server::start(directory.path(), &[]);
    let retry = server.book("k", "Ann").await;
    assert_eq!(retry.status, 201);
    assert!(!retry.is_replayed());
    assert!(server.book("k", "Ann").await.is_replayed());
}

// proves: store-clock-decides, clock-leap-forgets-none
#[tokio::test]
async fn a_start_with_the_clock_two_days_ahead_forgets_no_key() {
    // Longer than any key is stored. The loader continues without a library that is missing.
    let ahead = [
        ("LD_PRELOAD", "/usr/$LIB/faketime/libfaketimeMT.so.1"),
        ("FAKETIME", "+2d"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    for apart in [&[][..], &["--idempotency-store", "sqlite:keys.db"]] {
        let directory = tempdir().unwrap();
        let server = Server::start(directory.path(), apart);
        let first = server.book("k", "Ann").await;
        assert_eq!(first.status, 201);
        let day = today(&server).await;
        server.kill();

        let server = Server::start_with(directory.path(), apart, &ahead);
        if today(&server).await == day {
            let why = "libfaketime is not installed (Debian: apt-get install faketime)";
            assert!(env::var_os("CI").is_none(), "{why}");
            return eprintln!("skipped: {why}");
        }
        assert!(server.book("k", "Ann").await.is_replayed());
        // A write in between stores the new time in the file.
        assert_eq!(server.book("later", "Bob").await.status, 201);
        let retry = server.book("k", "Ann").await;
        assert!(retry.is_replayed());
        assert_eq!(retry.body, first.body);
        server
            .wait_for_log("ahead of the time in the SQLite file")
            .await;
        server.kill();

        // The clock is right again.
        let server = Server::start(directory.path(), apart);
        assert!(server.book("k", "Ann").await.is_replayed());
        assert!(server.book("later", "Bob").await.is_replayed());
        assert_eq!(server.bookings().await.len(), 2);
    }
}

/// The day that it writes into its responses.
async fn today(server: &Server) -> String {
    let date = server
        .get("/healthz")
        .await
        .header("date")
        .unwrap()
        .to_owned();
    date.split(' ').take(4).collect()
}

// proves: dead-owner-taken-over
#[tokio::test]
async fn killed_in_the_middle_its_key_elsewhere_is_taken_until_the_lease_ends() {
    let directory = tempdir().unwrap();
    let apart = ["--idempotency-store", "sqlite:keys.db"];
    let options = [&apart[..], &["--fault-injection"]].concat();
    kill_in_the_middle(&directory, &options).await;
    let server = Server::start(directory.path(), &apart);
    let retry = server.book("k", "Ann").await;
    assert_eq!(retry.problem(409)["code"], "idempotency_in_progress");
    server.book("k", "Bob").await.problem(422);
    assert_eq!(server.book("another", "Ann").await.status, 201);
}

async fn kill_in_the_middle(directory: &TempDir, options: &[&str]) {
    let server = Server::start(directory.path(), options);
    let slow = server
        .write("POST", "/bookings", "k", &booking("Ann"))
        .header("X-Fault-Delay-Ms", "600000");
    tokio::spawn(slow.send());
    server.wait_for_log("injected a delay").await;
    server.kill();
}

#[tokio::test]
async fn a_second_process_on_the_same_file_is_refused() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    let second = command(directory.path())
        .args(["--listen", "127.0.0.1:0"])
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    let error = String::from_utf8(second.stderr).unwrap();
    assert!(
        error.starts_with("core-api: --database sqlite:core-api.db: "),
        "{error}"
    );
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(second.stdout.is_empty());
    assert_eq!(server.book("k", "Ann").await.status, 201);
}

#[tokio::test]
async fn tables_of_another_version_are_not_touched() {
    let directory = tempdir().unwrap();
    let mut server = Server::start(directory.path(), &[]);
    server.book("k", "Ann").await;
    server.terminate();
    server.wait();
    let file = Connection::open(directory.path().join("core-api.db")).unwrap();
    file.execute("update bookings_schema set version = 3", ())
        .unwrap();
    drop(file);

    let output = command(directory.path())
        .args(["--listen", "127.0.0.1:0"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.starts_with("core-api: --database sqlite:core-api.db: its tables have version 3"),
        "{error}"
    );
}

#[tokio::test]
async fn a_booking_that_cannot_be_read_is_an_error_and_not_absent() {
    let directory = tempdir().unwrap();
    let mut server = Server::start(directory.path(), &[]);
    let first = server.book("k", "Ann").await;
    let path = first.header("location").unwrap();
    server.terminate();
    server.wait();
    let file = Connection::open(directory.path().join("core-api.db")).unwrap();
    file.execute("update bookings set status = 'unheard of'", ())
        .unwrap();
    drop(file);

    let server = Server::start(directory.path(), &[]);
    server.get(path).await.problem(503);
    server.get("/bookings").await.problem(503);
    let change = server.write("PATCH", path, "p", &json!({"time": "11:00"}));
    let refused = send(change).await;
    refused.problem(503);
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert!(server.book("k", "Ann").await.is_replayed());
}

// proves: keys-and-bodies-never-logged
#[tokio::test]
async fn the_log_has_every_request_and_neither_keys_nor_bodies() {
    let directory = tempdir().unwrap();
    for format in ["json", "pretty"] {
        let file = format!("sqlite:{format}.db");
        let arguments = [
            "--database",
            &file,
            "--fault-injection",
            "--log-format",
            format,
        ];
        let mut server = Server::start(directory.path(), &arguments);
        let key = "key-that-nobody-may-see";
        let name = "Name that nobody may see";
        for fault in [
            "X-Fault-Panic: 1",
            "X-Fault-Status: 503",
            "X-None: 1",
            "X-None: 1",
        ] {
            let (header, value) = fault.split_once(": ").unwrap();
            let request = server.write("POST", "/bookings", key, &booking(name));
            send(request.header(header, value)).await;
        }
        server
            .book(key, "Somebody else whom nobody may see")
            .await
            .problem(422);
        server
            .book("key that nobody may see either, \"", "Ann")
            .await
            .problem(400);
        server
            .get("/bookings?after=that-nobody-may-see")
            .await
            .problem(400);
        server.get("/bookings").await;
        server.terminate();
        let (_, _, log) = server.wait();

        assert!(!log.contains("nobody"), "{log}");
        assert_eq!(log.matches("responded").count(), 8, "{log}");
        assert_eq!(log.matches("panicked").count(), 1, "{log}");
        if format == "json" {
            for line in log.lines() {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                assert!(line["level"].is_string(), "{line}");
            }
        }
    }
}
