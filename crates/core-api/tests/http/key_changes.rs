//! `core-api keys release`, `resolve`, `erase` and `purge`.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
};

use rusqlite::Connection;
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::{
    keys::{
        LEASES, STORE, assert_audited, assert_undone, done, expire_leases, killed_while_booking,
        listed, run, text,
    },
    server::{Server, UNSEEN, booking, command, send},
    tokens::{Tokens, book},
};

/// Starts the service once more, whose clients then see what the operator has done.
// proves: lost-key-resolved-as-seen
#[tokio::test]
async fn a_lost_run_is_released_or_given_a_response_as_it_was_seen() {
    let directory = tempdir().unwrap();
    let path = directory.path();
    killed_while_booking(path, &LEASES, None, &["a", "b"]).await;
    let in_flight = listed(path, &[&STORE[..], &["--in-flight"]].concat());
    assert_eq!(in_flight.len(), 2);
    assert_eq!(in_flight[0]["phase"], "running");
    let id = |key: &str| {
        let key = format!("{key}{UNSEEN}");
        let shown = done(
            path,
            &[&["show", "--json", "--key", &key], &STORE[..]].concat(),
        );
        serde_json::from_str::<Value>(&shown).unwrap()["id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let (a, b) = (id("a"), id("b"));
    let on = |arguments: &[&str], input: &str| run(path, &[arguments, &STORE].concat(), input);
    assert_undone(&on(&["release", &a], ""), "its lease has not expired");
    assert_undone(&on(&["erase", &a], ""), "its run has not ended");

    expire_leases(path);
    let stuck = listed(path, &[&STORE[..], &["--stuck"]].concat());
    assert_eq!(stuck.len(), 2);
    let found = on(&["release", "--stuck"], "");
    assert_eq!(
        (found.status.code(), text(&found.stdout).as_str()),
        (Some(0), "2 found\n")
    );
    assert_eq!(listed(path, &[&STORE[..], &["--stuck"]].concat()).len(), 2);

    fs::write(path.join("body"), "{\"id\":\"found\"}").unwrap();
    // A response that is gone at once would let the next retry run.
    for ttl in ["0s", "59s"] {
        let refused = on(&["resolve", &a, "--status", "201", "--ttl", ttl], "");
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        assert!(
            text(&refused.stderr).contains("at least a minute"),
            "{refused:?}"
        );
    }
    let resolved = on(
        &[
            "resolve",
            &a,
            "--status",
            "201",
            "--body-file",
            "body",
            "--header",
            "Location: /bookings/found",
        ],
        "",
    );
    assert!(resolved.status.success(), "{resolved:?}");
    assert_audited(&text(&resolved.stderr), "resolve", &a);
    let two = on(&["resolve", "-", "--status", "201"], &format!("{a}\n{b}\n"));
    assert_undone(&two, "expected one id");
    // What the list has shown is not there any more.
    let lines: String = stuck.iter().map(|line| format!("{line}\n")).collect();
    let released = on(&["release", "-", "--json"], &lines);
    assert_undone(
        &released,
        &format!("{{\"id\":\"{b}\",\"result\":\"done\"}}"),
    );
    assert_undone(
        &released,
        &format!("{{\"id\":\"{a}\",\"result\":\"changed meanwhile\"}}"),
    );
    assert_audited(&text(&released.stderr), "release", &b);
    assert_undone(&on(&["release", &b[..16]], ""), "not found");
    assert_undone(&on(&["release", &a], ""), "its run is completed");

    let server = Server::start(path, &LEASES);
    let retry = server.book("a", "Ann").await;
    assert_eq!((retry.status.as_u16(), retry.is_replayed()), (201, true));
    assert_eq!(
        (retry.header("location"), &retry.json()["id"]),
        (Some("/bookings/found"), &"found".into())
    );
    assert_eq!(retry.header("content-type"), Some("application/json"));
    let retry = server.book("b", "Ann").await;
    assert_eq!((retry.status.as_u16(), retry.is_replayed()), (201, false));
    assert_eq!(server.bookings().await.len(), 1);
}

// proves: records-encrypted-and-purgeable, erased-response-never-runs
#[tokio::test]
async fn the_responses_of_a_subject_are_erased_and_those_of_others_stay() {
    let tokens = Tokens::new();
    let (ann, bob) = (tokens.add(&["ann"]), tokens.add(&["bob"]));
    let path = tokens.directory.path();
    let server = tokens.start(&[]);
    for (token, key) in [(&ann, "k"), (&ann, "l"), (&bob, "k")] {
        assert_eq!(book(&server, token, key).await.status, 201);
    }
    server.kill();
    assert_eq!(done(path, &["erase", "--of-subject", "ann"]), "2 found\n");
    assert_eq!(listed(path, &["--of-subject", "ann"]).len(), 2);
    let erased = done(path, &["erase", "--of-subject", "ann", "--yes"]);
    assert_eq!(erased.matches("  done\n").count(), 2, "{erased}");
    // The label goes with the response.
    assert!(listed(path, &["--of-subject", "ann"]).is_empty());
    for (arguments, why) in [
        (&["erase", "--of-subject", "ann", "--yes"][..], "0 found"),
        (&["erase", "--of-subject", "carl"], "or the secret may be"),
        (&["erase", "-"], "there is no id"),
        (&["resolve", "-", "--status", "200"], "there is no id"),
        (&["erase"], "name ids"),
        (&["erase", "0123456789abcdef", "--completed"], "not both"),
    ] {
        assert_undone(&run(path, arguments, ""), why);
    }

    let server = tokens.start(&[]);
    for key in ["k", "l"] {
        book(&server, &ann, key).await.problem(410);
    }
    assert!(book(&server, &bob, "k").await.is_replayed());
}

// proves: lost-key-resolved-as-seen
#[cfg(unix)]
#[tokio::test]
async fn the_log_says_that_the_result_of_an_interrupted_change_is_unknown() {
    let directory = tempdir().unwrap();
    let path = directory.path();
    let server = Server::start(path, &[]);
    assert_eq!(server.book("k", "Ann").await.status, 201);
    server.kill();
    // Every change of a record takes seconds.
    let slow = "create table numbers (number integer);
        with recursive counted (number) as (select 1 union all select number + 1 from counted where number < 5000)
            insert into numbers select number from counted;
        create trigger slow before update on idempotency_records begin
            select count(*) from numbers a, numbers b where a.number + b.number < 0;
        end";
    let database = Connection::open(path.join("core-api.db")).unwrap();
    database.execute_batch(slow).unwrap();
    drop(database);
    let mut child = command(path)
        .args(["keys", "erase", "--completed", "--yes"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("asked for") {
        assert_ne!(log.read_line(&mut said).unwrap(), 0, "{said}");
    }
    let kill = format!("kill -INT {}", child.id());
    let sent = Command::new("sh").args(["-c", &kill]).status();
    assert!(sent.unwrap().success());
    log.read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
    let result = "\"result\":\"unknown: it was interrupted, and may have been made\"";
    assert!(said.contains(result), "{said}");
    assert_eq!(said.matches("\"audit\"").count(), 2, "{said}");
    assert!(
        said.ends_with("core-api: interrupted: the change that was under way may have been made\n")
    );
}

/// Both commands open the file, one after the other.
// proves: records-encrypted-and-purgeable
#[tokio::test]
async fn a_list_is_what_the_next_command_changes() {
    let directory = tempdir().unwrap();
    let server = Server::start(directory.path(), &[]);
    assert_eq!(server.book("k", "Ann").await.status, 201);
    server.kill();
    let program = env!("CARGO_BIN_EXE_core-api");
    let pipe = format!("'{program}' keys list --json | '{program}' keys erase - --json");
    let output = Command::new("sh")
        .args(["-c", &pipe])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(text(&output.stdout).ends_with("\"result\":\"done\"}\n"));
    assert_eq!(listed(directory.path(), &[])[0]["phase"], "erased");
}

// proves: sweep-removes-only-expired
#[tokio::test]
async fn a_purge_removes_what_has_expired_and_nothing_else() {
    let directory: TempDir = tempdir().unwrap();
    let path = directory.path();
    let server = Server::start(path, &[]);
    for key in ["k", "l"] {
        assert_eq!(server.book(key, "Ann").await.status, 201);
    }
    server.kill();
    let database = Connection::open(path.join("core-api.db")).unwrap();
    let expire = "update idempotency_records set expires_at = 0 where rowid = 1";
    assert_eq!(database.execute(expire, ()).unwrap(), 1);
    drop(database);
    let purged = run(path, &["purge"], "");
    assert_eq!(text(&purged.stdout), "1 removed\n", "{purged:?}");
    assert_audited(&text(&purged.stderr), "purge", "all that have expired");
    assert_eq!(done(path, &["purge", "--json"]), "{\"removed\":0}\n");
    assert_eq!(listed(path, &[]).len(), 1);
    let server = Server::start(path, &[]);
    let first = send(server.write("POST", "/bookings", "k", &booking("Ann"))).await;
    assert!(!first.is_replayed());
}
