//! With `--fault-injection` the service is a child process, which is started again when it crashes.

use std::{process::Stdio, time::Duration};

use tempfile::tempdir;
use tokio::time::timeout;

use crate::server::{Server, booking, command, send};

const STARTED: &str = "the service runs under a supervisor";

// proves: dead-owner-taken-over, rows-and-key-commit-together
#[tokio::test]
async fn after_a_crash_on_order_it_is_there_again_and_the_retry_books_once() {
    let directory = tempdir().unwrap();
    let mut server = Server::start(directory.path(), &["--fault-injection"]);
    for (crashes, (moment, is_replayed)) in [("before-commit", false), ("after-commit", true)]
        .into_iter()
        .enumerate()
    {
        let crash = server
            .write("POST", "/bookings", moment, &booking("Ann"))
            .header("X-Fault-Crash", moment);
        crash.send().await.unwrap_err();
        // The address is the same one, and a request that comes too early is not refused but waits.
        let retry = server.book(moment, "Ann").await;
        assert_eq!(retry.status, 201);
        assert_eq!(retry.is_replayed(), is_replayed, "{moment}");
        assert!(server.book(moment, "Ann").await.is_replayed());
        assert_eq!(server.bookings().await.len(), crashes + 1);
        server.wait_for_logs(STARTED, crashes + 2).await;
    }
    // The supervisor also replaces a child that was killed from outside.
    server.signal_child("KILL");
    server.wait_for_logs(STARTED, 4).await;
    // The client may not have noticed that its connection is gone.
    drop(server.request("GET", "/healthz").send().await);
    assert!(server.book("after-commit", "Ann").await.is_replayed());
    server.terminate();
    let (status, stdout, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(stdout, "", "more than one line on standard output");
    assert_eq!(log.matches("the service has crashed").count(), 3, "{log}");
}

#[tokio::test]
async fn what_a_child_ends_by_itself_is_not_begun_again() {
    let directory = tempdir().unwrap();
    let mut command = command(directory.path());
    command.args(["--fault-injection", "--listen", "127.0.0.1:0"]);
    command.args(["--database", "sqlite:nowhere/bookings.db"]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(
        log.contains("--database sqlite:nowhere/bookings.db"),
        "{log}"
    );
    assert_eq!(log.matches(STARTED).count(), 1, "{log}");

    let mut server = Server::start(directory.path(), &["--fault-injection"]);
    server.signal_child("TERM");
    let (status, _, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(log.matches(STARTED).count(), 1, "{log}");
}

#[tokio::test]
async fn an_address_that_is_taken_is_reported_before_anything_is_started() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--fault-injection"]);
    let mut second = command(directory.path());
    second.args(["--fault-injection", "--listen", &server.address.to_string()]);
    let output = second.output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains("core-api: --listen 127.0.0.1:"), "{log}");
    assert!(!log.contains(STARTED), "{log}");
}

// proves: shutdown-waits-for-runs
#[tokio::test]
async fn one_interrupt_from_a_terminal_lets_requests_end_and_lets_no_others_in() {
    let directory = tempdir().unwrap();
    let mut server = Server::start_in_group(directory.path(), &["--fault-injection"]);
    let slow = server
        .write("POST", "/bookings", "k", &booking("Ann"))
        .header("X-Fault-Delay-Ms", "2000");
    let slow = tokio::spawn(send(slow));
    server.wait_for_log("injected a delay").await;
    server.interrupt_group();
    server.wait_for_log("no new connections").await;
    // The supervisor has the socket open, and no process would read what a client sends to it.
    let other = timeout(Duration::from_secs(1), server.get_error("/healthz")).await;
    other.expect("the connection is refused");
    assert_eq!(slow.await.unwrap().status, 201);
    let (status, _, log) = server.wait();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[tokio::test]
async fn a_supervisor_that_is_killed_leaves_no_child() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &["--fault-injection"]);
    server.signal("KILL");
    // The child has the other end of the log.
    let ended = timeout(Duration::from_secs(30), server.log_ended()).await;
    ended.expect("the child ends");
    server.get_error("/healthz").await;
}

#[tokio::test]
async fn without_a_supervisor_a_crash_is_refused() {
    let directory = tempdir().unwrap();
    let arguments = ["--fault-injection", "--no-supervisor"];
    let alone = Server::start(directory.path(), &arguments);
    let crash = |server: &Server, moment| {
        let request = server.write("POST", "/bookings", "k", &booking("Ann"));
        send(request.header("X-Fault-Crash", moment))
    };
    let refused = crash(&alone, "before-commit").await.problem(400);
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("supervisor"), "{detail}");
    assert!(!alone.logged().contains(STARTED));
    drop(alone);

    let server = Server::start(directory.path(), &["--fault-injection"]);
    let refused = crash(&server, "soon").await.problem(400);
    let detail = refused["detail"].as_str().unwrap();
    assert!(detail.contains("X-Fault-Crash"), "{detail}");
    drop(server);

    // Without the option the field means nothing.
    let server = Server::start(directory.path(), &[]);
    assert_eq!(crash(&server, "before-commit").await.status, 201);
}
