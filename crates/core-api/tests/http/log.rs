//! The log, and how requests proceed when it cannot be written.

use std::{
    fs::File,
    io::{Read, Write, pipe},
    net::TcpStream,
    process::Stdio,
    thread,
};

use rusqlite::Connection;
use serde_json::Value;
use tempfile::tempdir;

use crate::server::{Server, booking, send};

/// More than a pipe holds.
const ENOUGH: usize = 600;

async fn work_with_a_log_in(log: Stdio) -> (Server, tempfile::TempDir) {
    let directory = tempdir().unwrap();
    let server = Server::start_logging_to(directory.path(), &["--fault-injection"], log);
    let panics = server
        .write("POST", "/bookings", "p", &booking("Ann"))
        .header("X-Fault-Panic", "1");
    assert_eq!(send(panics).await.status, 500);
    for _ in 0..ENOUGH {
        assert_eq!(server.get("/nowhere").await.status, 404);
    }
    assert_eq!(server.book("k", "Ann").await.status, 201);
    assert!(server.book("k", "Ann").await.is_replayed());
    assert_eq!(server.get("/healthz").await.status, 200);
    (server, directory)
}

#[tokio::test]
async fn a_log_on_a_full_device_stops_no_request() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let (mut server, _directory) = work_with_a_log_in(full.into()).await;
    server.terminate();
    assert_eq!(server.wait().0.code(), Some(0));
}

#[tokio::test]
async fn a_log_in_a_pipe_whose_reader_has_died_stops_no_request() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let (mut server, _directory) = work_with_a_log_in(writer.into()).await;
    server.terminate();
    assert_eq!(server.wait().0.code(), Some(0));
}

#[tokio::test]
async fn a_log_in_a_pipe_without_a_reader_blocks_neither_requests_nor_shutdown() {
    let (_reader, writer) = pipe().unwrap();
    let (mut server, _directory) = work_with_a_log_in(writer.into()).await;
    server.terminate();
    assert_eq!(server.wait().0.code(), Some(0));
}

#[tokio::test]
async fn lines_that_were_lost_are_counted_in_the_log_once_it_is_read() {
    let (mut reader, writer) = pipe().unwrap();
    let (mut server, _directory) = work_with_a_log_in(writer.into()).await;
    // The lines that wait to be written are bounded.
    let long = format!("/{}", "x".repeat(3000));
    for _ in 0..2500 {
        assert_eq!(server.get(&long).await.status, 404);
    }
    let reading = thread::spawn(move || {
        let mut log = String::new();
        reader.read_to_string(&mut log).unwrap();
        log
    });
    server.terminate();
    assert_eq!(server.wait().0.code(), Some(0));
    let log = reading.join().unwrap();
    let mut told = log
        .lines()
        .filter(|line| line.contains("lines of this log were lost"));
    let told: Value = serde_json::from_str(told.next_back().expect("the count")).unwrap();
    let lines = log.lines().filter(|line| line.contains("xxx")).count() as u64;
    // Other lines may be lost too, such as the first report of lost ones.
    let all = lines + told["lines"].as_u64().unwrap();
    assert!(
        lines < 2500 && (2500..2600).contains(&all),
        "{lines} {told}"
    );
    assert!(
        log.lines()
            .all(|line| serde_json::from_str::<Value>(line).is_ok())
    );
}

#[tokio::test]
async fn an_error_is_logged_with_its_causes_in_every_format() {
    for format in ["json", "pretty"] {
        let directory = tempdir().unwrap();
        let mut server = Server::start(directory.path(), &["--log-format", format]);
        let file = Connection::open(directory.path().join("core-api.db")).unwrap();
        file.execute_batch("drop table bookings").unwrap();
        server.get("/bookings").await.problem(503);
        server.book("k", "Ann").await.problem(503);
        server.terminate();
        let (_, _, log) = server.wait();
        let errors: Vec<_> = log.lines().filter(|line| line.contains("ERROR")).collect();
        assert_eq!(errors.len(), 2, "{log}");
        for error in errors {
            assert!(error.contains("no such table: bookings"), "{error}");
        }
    }
}

#[tokio::test]
async fn a_path_goes_into_the_log_cut_and_escaped() {
    for format in ["json", "pretty"] {
        let directory = tempdir().unwrap();
        let mut server = Server::start(directory.path(), &["--log-format", format]);
        let long = "y".repeat(30_000);
        for path in ["/\u{202e}gnp.exe\u{85}", &format!("/{long}")] {
            let mut connection = TcpStream::connect(server.address).unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
            connection.write_all(request.as_bytes()).unwrap();
            let mut response = String::new();
            connection.read_to_string(&mut response).unwrap();
            assert!(response.starts_with("HTTP/1.1 404"), "{response}");
        }
        server.terminate();
        let (_, _, log) = server.wait();
        assert!(log.contains("u{202e}gnp.exe"), "{log}");
        assert!(!log.contains(['\u{202e}', '\u{85}']), "{log}");
        assert!(log.contains("30001 bytes"), "{log}");
        assert!(log.lines().all(|line| line.len() < 3000), "{log}");
    }
}
