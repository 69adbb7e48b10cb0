//! `core-api keys`, over an SQLite file.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Output, Stdio},
};

use rusqlite::Connection;
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::{
    server::{Server, UNSEEN, booking, command, send},
    tokens::{Tokens, book},
};

/// Keys in a file of their own are held under leases, and a killed service leaves them in flight.
pub(crate) const LEASES: [&str; 3] = ["--idempotency-store", "sqlite:keys.db", "--fault-injection"];

const STORE: [&str; 2] = ["--idempotency-store", "sqlite:keys.db"];

/// Runs the command with this on its standard input.
fn run(directory: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = command(directory)
        .arg("keys")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that is refused does not read it.
    drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
    child.wait_with_output().unwrap()
}

/// What a command prints that leaves nothing undone.
#[track_caller]
fn done(directory: &Path, arguments: &[&str]) -> String {
    let output = run(directory, arguments, "");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    text(&output.stdout)
}

/// Asserts that something is not done, and that this says why.
#[track_caller]
fn assert_undone(output: &Output, why: &str) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(said.contains(why), "{said}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn listed(directory: &Path, arguments: &[&str]) -> Vec<Value> {
    let lines = done(directory, &[&["list", "--json"], arguments].concat());
    let lines = lines.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

/// A service that was killed in the middle of a booking under each of these keys.
pub(crate) async fn killed_while_booking(
    directory: &Path,
    arguments: &[&str],
    token: Option<&str>,
    keys: &[&str],
) {
    let server = Server::start(directory, arguments);
    for (number, key) in keys.iter().enumerate() {
        let mut slow = server
            .write("POST", "/bookings", key, &booking("Ann"))
            .header("X-Fault-Delay-Ms", "600000");
        if let Some(token) = token {
            slow = slow.bearer_auth(token);
        }
        tokio::spawn(slow.send());
        server.wait_for_logs("injected a delay", number + 1).await;
    }
    server.kill();
}

/// As if the leases had expired, for which a service would have to run for 30 seconds.
pub(crate) fn expire_leases(directory: &Path) {
    let keys = Connection::open(directory.join("keys.db")).unwrap();
    keys.execute(
        "update idempotency_records set lease_until = 0 where lease_until is not null",
        (),
    )
    .unwrap();
}

// proves: key-state-shown, keys-and-bodies-never-logged
#[tokio::test]
async fn keys_are_listed_and_shown_without_keys_and_bodies() {
    let tokens = Tokens::new();
    let (ann, bob) = (tokens.add(&["ann"]), tokens.add(&["bob"]));
    let directory = tokens.directory.path();
    let server = tokens.start(&[]);
    assert_eq!(book(&server, &ann, "k").await.status, 201);
    assert_eq!(book(&server, &bob, "k").await.status, 201);
    // The file has one process that counts its time and its room.
    assert_undone(
        &run(directory, &["list"], ""),
        "ask the service that has it open for its keys, at /admin/keys",
    );
    server.kill();

    let all = listed(directory, &[]);
    assert_eq!(all.len(), 2);
    let of_ann = listed(directory, &["--of-subject", "ann"]);
    let [of_ann] = &of_ann[..] else {
        panic!("{of_ann:?}");
    };
    assert_eq!(of_ann["phase"], "done");
    assert_eq!(
        (&of_ann["attempt"], &of_ann["route"]),
        (&1.into(), &"POST /bookings".into())
    );
    assert!(listed(directory, &["--in-flight"]).is_empty());
    assert_eq!(
        listed(
            directory,
            &["--completed", "--route", "POST /bookings", "--limit", "1"]
        )
        .len(),
        1
    );
    assert!(listed(directory, &["--route", "POST /other"]).is_empty());
    assert!(listed(directory, &["--older-than", "1h"]).is_empty());
    let table = done(directory, &["list"]);
    let id = of_ann["id"].as_str().unwrap();
    assert!(
        table.starts_with("ID ") && table.contains(&id[..16]),
        "{table}"
    );

    let key = format!("k{UNSEEN}");
    let shown = run(
        directory,
        &["show", "--subject", "ann", "--key-stdin"],
        &format!("{key}\n"),
    );
    assert!(shown.status.success(), "{shown:?}");
    let said = text(&shown.stdout) + &text(&shown.stderr);
    assert!(
        said.contains(id) && said.contains("response     201") && said.contains("location"),
        "{said}"
    );
    assert!(!said.contains(UNSEEN), "{said}");
    let quoted = done(
        directory,
        &["show", "--subject", "ann", "--key", &format!("\"{key}\"")],
    );
    assert!(quoted.contains(id) && !quoted.contains(UNSEEN), "{quoted}");
    let body = done(directory, &["show", &id[..16], "--body"]);
    assert!(body.contains("\"customer_name\":\"Ann\""), "{body}");
    let json: Value = serde_json::from_str(&done(directory, &["show", id, "--json"])).unwrap();
    assert_eq!(
        (&json["response"]["status"], &json["steps"]),
        (&201.into(), &0.into())
    );
    assert!(json["response"].get("body").is_none());

    assert_undone(
        &run(directory, &["show", "--key", "another"], ""),
        "not found",
    );
    let wrong = run(directory, &["show", &key], "");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(!text(&wrong.stderr).contains(UNSEEN), "{wrong:?}");
}

// proves: key-state-shown
#[test]
fn a_store_that_the_command_cannot_reach_is_an_error() {
    let directory = tempdir().unwrap();
    for (store, why) in [
        (
            &["--database", "memory:"][..],
            "running service only: ask it, at /admin/keys",
        ),
        (
            &["--idempotency-store", "memory:"],
            "running service only: ask it, at /admin/keys",
        ),
        (&[], "--database sqlite:core-api.db: there is no such file"),
        (
            &STORE,
            "--idempotency-store sqlite:keys.db: there is no such file",
        ),
    ] {
        for verb in ["list", "purge"] {
            let output = run(directory.path(), &[&[verb], store].concat(), "");
            assert_undone(&output, why);
            assert!(output.stdout.is_empty());
        }
    }
    assert_eq!(directory.path().read_dir().unwrap().count(), 0);
}

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
        (&["erase"][..], "name ids"),
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
    let output = std::process::Command::new("sh")
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

/// Asserts that the log says that this was asked for and done, by a user, and nothing of a key.
#[track_caller]
fn assert_audited(log: &str, action: &str, key: &str) {
    let events = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let events = events.filter(|event| {
        event["target"] == "audit" && event["action"] == action && event["key"] == key
    });
    let events: Vec<_> = events.collect();
    let said: Vec<_> = events.iter().map(|event| &event["message"]).collect();
    assert_eq!(said, ["asked for", "done"], "{log}");
    assert!(
        events
            .iter()
            .all(|event| event["by"].as_str().unwrap().starts_with("user "))
    );
    assert!(!log.contains(UNSEEN), "{log}");
}
