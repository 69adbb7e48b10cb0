//! `core-api keys`, over a SQLite file.

use std::{
    io::Write,
    path::Path,
    process::{Output, Stdio},
};

use rusqlite::Connection;
use serde_json::Value;
use tempfile::tempdir;

use crate::{
    server::{Server, UNSEEN, booking, command},
    tokens::{Tokens, book},
};

/// Keys in a file of their own are held under leases, and a killed service leaves them in flight.
pub(crate) const LEASES: [&str; 3] = ["--idempotency-store", "sqlite:keys.db", "--fault-injection"];

pub(crate) const STORE: [&str; 2] = ["--idempotency-store", "sqlite:keys.db"];

/// Runs the command with this on its standard input.
pub(crate) fn run(directory: &Path, arguments: &[&str], input: &str) -> Output {
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
pub(crate) fn done(directory: &Path, arguments: &[&str]) -> String {
    let output = run(directory, arguments, "");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    text(&output.stdout)
}

/// Asserts that something is not done, and that this says why.
#[track_caller]
pub(crate) fn assert_undone(output: &Output, why: &str) {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(said.contains(why), "{said}");
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(crate) fn listed(directory: &Path, arguments: &[&str]) -> Vec<Value> {
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

// proves: keys-and-bodies-never-logged
#[test]
fn an_argument_in_the_wrong_place_is_not_repeated() {
    let directory = tempdir().unwrap();
    let option = format!("--key{UNSEEN}");
    for arguments in [
        &[UNSEEN][..],
        &["list", UNSEEN],
        &["list", &option],
        &["list", "--older-than", UNSEEN],
        &["resolve", "0123456789abcdef", "--status", UNSEEN],
        &["show", "--key-stdin", "--json=", UNSEEN],
    ] {
        let refused = run(directory.path(), arguments, "");
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {refused:?}");
        assert!(
            !text(&refused.stderr).contains(UNSEEN),
            "{arguments:?}: {refused:?}"
        );
    }
}

// proves: key-state-shown
#[test]
fn a_store_that_the_command_cannot_reach_is_an_error() {
    let directory = tempdir().unwrap();
    for (store, why) in [
        (
            &["--database", "memory:"][..],
            "of the running service: ask it, at /admin/keys",
        ),
        (
            &["--idempotency-store", "memory:"],
            "of the running service: ask it, at /admin/keys",
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

// proves: command-makes-no-tables
#[test]
fn a_command_on_another_programs_file_says_that_there_are_no_keys_and_leaves_it_as_it_is() {
    let directory = tempdir().unwrap();
    let path = directory.path();
    // A name that a URI has to escape.
    let names = ["other.db", "100% of? it#.db", "with-a-log.db", "empty.db"];
    let mut open = Vec::new();
    for name in names {
        let other = Connection::open(path.join(name)).unwrap();
        match name {
            "empty.db" => continue,
            "with-a-log.db" => {
                let mode = other.pragma_update(None, "journal_mode", "wal");
                mode.unwrap();
            }
            _ => {}
        }
        other.execute_batch("create table t (a)").unwrap();
        if name == "with-a-log.db" {
            // The table is in the log only.
            open.push(other);
        }
    }
    std::fs::write(path.join("empty.db"), "").unwrap();
    let files = || {
        let files = path.read_dir().unwrap().map(|file| file.unwrap().path());
        let mut files: Vec<_> = files
            .filter(|path| !path.to_string_lossy().ends_with("-shm"))
            .map(|path| (std::fs::read(&path).unwrap(), path))
            .collect();
        files.sort();
        files
    };
    let before = files();
    for name in names {
        let database = format!("sqlite:{name}");
        let on = |words: &[&str]| run(path, &[words, &["--database", &database]].concat(), "");
        for (words, said) in [
            (&["list"][..], "no keys"),
            (&["list"], "has no table of keys"),
            (&["purge"], "0 removed"),
            (&["release", "--stuck", "--yes"], ""),
        ] {
            let output = on(words);
            let all = text(&output.stdout) + &text(&output.stderr);
            assert!(
                output.status.success() && all.contains(said),
                "{name}: {all}"
            );
        }
        assert_undone(&on(&["show", "--key", "k"]), "not found");
        assert!(files() == before, "{name} was changed");
    }
}

// proves: key-changes-followed
#[test]
fn a_file_of_one_process_is_not_followed() {
    let directory = tempdir().unwrap();
    for store in ["sqlite:keys.db", "memory:"] {
        let output = run(
            directory.path(),
            &["tail", "--idempotency-store", store],
            "",
        );
        assert_undone(&output, "follow the running service with --service");
    }
    assert_eq!(directory.path().read_dir().unwrap().count(), 0);
}

/// Asserts that the log says that this was asked for and done, by a user, and nothing of a key.
#[track_caller]
pub(crate) fn assert_audited(log: &str, action: &str, key: &str) {
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
