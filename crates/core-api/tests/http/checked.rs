//! `core-api check`.

use std::{fs, net::TcpListener, path::Path, process::Output};

use rusqlite::Connection;
use serde_json::Value;
use tempfile::tempdir;

use crate::{
    server::{Server, assert_hidden, command},
    tokens::Tokens,
};

fn check(directory: &Path, arguments: &[&str]) -> Output {
    let output = command(directory)
        .arg("check")
        .args(arguments)
        .output()
        .unwrap();
    assert_hidden(&String::from_utf8_lossy(&output.stdout));
    assert_hidden(&String::from_utf8_lossy(&output.stderr));
    output
}

/// The verdict on one of the checks, and the whole report.
#[track_caller]
fn verdict(output: &Output, check: &str) -> String {
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let found = findings.iter().find(|finding| finding["check"] == check);
    let found = found.unwrap_or_else(|| panic!("{check}: {report}"));
    let is_problem = report["verdict"] == "problem";
    assert_eq!(
        output.status.code(),
        Some(i32::from(is_problem)),
        "{report}"
    );
    found["verdict"].as_str().unwrap().to_owned()
}

// proves: check-before-start
#[test]
fn a_check_before_the_first_start_makes_no_file() {
    let directory = tempdir().unwrap();
    let output = check(directory.path(), &["--listen", "127.0.0.1:0", "--json"]);
    assert_eq!(verdict(&output, "file"), "warning");
    assert_eq!(verdict(&output, "address"), "ok");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);

    let arguments = [
        "--listen",
        "127.0.0.1:0",
        "--json",
        "--database",
        "sqlite:no/a.db",
    ];
    let output = check(directory.path(), &arguments);
    assert_eq!(verdict(&output, "file"), "problem");
}

// proves: check-before-start
#[tokio::test]
async fn a_check_works_while_the_service_runs_and_after_it() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    assert_eq!(server.book("k", "Ann").await.status, 201);
    let listen = server.address.to_string();
    let output = check(directory.path(), &["--listen", &listen, "--json"]);
    assert_eq!(verdict(&output, "address"), "ok");
    assert_eq!(verdict(&output, "database"), "ok");
    let output = check(
        directory.path(),
        &["--running", "--listen", &listen, "--json"],
    );
    assert_eq!(verdict(&output, "address"), "ok");
    // Under another address no service says whether it can write.
    let output = check(directory.path(), &["--listen", "127.0.0.1:0", "--json"]);
    assert_eq!(verdict(&output, "database"), "warning");
    assert!(server.book("k", "Ann").await.is_replayed());
    server.kill();
    let output = check(
        directory.path(),
        &["--running", "--listen", &listen, "--json"],
    );
    assert_eq!(verdict(&output, "address"), "problem");

    let output = check(directory.path(), &["--listen", "127.0.0.1:0", "--json"]);
    for is_ok in ["database", "writable", "integrity", "schema", "secret"] {
        assert_eq!(verdict(&output, is_ok), "ok", "{is_ok}");
    }
    let table = check(directory.path(), &["--listen", "127.0.0.1:0"]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("ok       integrity"), "{table}");
    assert!(table.ends_with("problems: 0, warnings: 0\n"), "{table}");
    let file = Connection::open(directory.path().join("core-api.db")).unwrap();
    let records = file.query_row(
        "select count(*) from idempotency_records where phase = 2",
        (),
        |row| row.get(0),
    );
    assert_eq!(records, Ok(1));
}

// proves: check-before-start, bearer-token-required
#[tokio::test]
async fn a_health_check_of_a_protected_service_needs_a_token() {
    let tokens = Tokens::new();
    let prober = tokens.add(&["prober", "--role", "viewer"]);
    let path = tokens.directory.path();
    let server = tokens.start(&["--protect-health"]);
    let listen = server.address.to_string();
    let running = ["--running", "--listen", &listen, "--json"];
    for (wrong, is_set) in [("", false), ("nonsense", true), ("", true)] {
        let mut command = command(path);
        if is_set {
            command.env("CORE_API_TOKEN", wrong);
        }
        let output = command.arg("check").args(running).output().unwrap();
        assert_eq!(verdict(&output, "address"), "problem");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("CORE_API_TOKEN"), "{said}");
    }
    let mut by_variable = command(path);
    by_variable.env("CORE_API_TOKEN", &prober);
    let output = by_variable.arg("check").args(running).output().unwrap();
    assert_eq!(verdict(&output, "address"), "ok");
    fs::write(path.join("prober"), prober + "\n").unwrap();
    let by_file = [&running[..], &["--token-file", "prober"]].concat();
    assert_eq!(verdict(&check(path, &by_file), "address"), "ok");
    // Without --running the service that has the file is asked, too.
    let output = check(path, &by_file[1..]);
    assert_eq!(verdict(&output, "database"), "ok");
}

// proves: check-before-start
#[test]
fn what_would_stop_a_start_is_a_problem_and_named() {
    let directory = tempdir().unwrap();
    let another = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = another.local_addr().unwrap().to_string();
    // A program that hangs up is not the service.
    let hang_up = std::thread::spawn(move || drop(another.accept()));
    let output = check(
        directory.path(),
        &["--listen", &taken, "--json", "--database", "memory:"],
    );
    assert_eq!(verdict(&output, "address"), "problem");
    hang_up.join().unwrap();

    let free = ["--listen", "127.0.0.1:0", "--json", "--database"];
    let nowhere = "postgres://ann:s3cret@127.0.0.1:1/bookings?sslmode=disable";
    let output = check(directory.path(), &[&free[..], &[nowhere]].concat());
    assert_eq!(verdict(&output, "database"), "problem");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        said.contains("--database") && !said.contains("s3cret"),
        "{said}"
    );

    fs::write(directory.path().join("tokens"), "sha256=1\n").unwrap();
    let output = check(
        directory.path(),
        &[&free[..], &["memory:", "--tokens", "tokens"]].concat(),
    );
    assert_eq!(verdict(&output, "tokens"), "problem");
    let output = check(
        directory.path(),
        &[&free[..], &["memory:", "--protect-health"]].concat(),
    );
    assert_eq!(verdict(&output, "tokens"), "problem");
}
