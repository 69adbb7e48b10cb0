//! A SQLite file whose secret is changed: the file knows which secret its keys have.

use std::{fs, path::Path};

use rusqlite::Connection;
use tempfile::tempdir;

use crate::{
    keys::{assert_undone, done, run},
    server::{Server, UNSEEN, command},
};

const OLD: &str = "core-api.db.secret";

/// The options of each deployment.
const CHANGE: [&[&str]; 4] = [
    &[],
    &["--next-secret-file", "new"],
    &["--secret-file", "new", "--previous-secret-file", OLD],
    &["--secret-file", "new"],
];

fn refused(directory: &Path, arguments: &[&str]) -> String {
    let output = command(directory)
        .args(["--listen", "127.0.0.1:0"])
        .args(arguments)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn show(key: &str) -> Vec<String> {
    ["show", "--key", &format!("{key}{UNSEEN}")]
        .map(str::to_owned)
        .to_vec()
}

fn shown(directory: &Path, key: &str, options: &[&str]) -> String {
    let show = show(key);
    let words: Vec<&str> = show
        .iter()
        .map(String::as_str)
        .chain(options.iter().copied())
        .collect();
    done(directory, &words)
}

// proves: secret-rotation-loses-no-key, key-state-shown
#[tokio::test]
async fn the_secret_of_a_file_is_changed_forth_and_back_without_forgetting_a_key() {
    let directory = tempdir().unwrap();
    let path = directory.path();
    fs::write(path.join("new"), "5e".repeat(32)).unwrap();
    let server = Server::start(path, CHANGE[0]);
    let first = server.book("k", "Ann").await;
    server.kill();
    for number in [1, 2, 1, 2, 1, 0, 1, 2] {
        let options = CHANGE[number];
        if number == 0 {
            // Keys that the second deployment has stored live on.
            let error = refused(path, options);
            assert!(
                error.contains("--next-secret-file if you go back"),
                "{error}"
            );
            after_two_days(path);
        }
        let server = Server::start(path, options);
        let retry = server.book("k", "Ann").await;
        assert!(retry.is_replayed(), "{number}");
        assert_eq!(retry.body, first.body);
        assert_eq!(server.book("k", "Bob").await.status, 422);
        server.kill();
        assert!(shown(path, "k", options).contains("response     201"));
    }
    let server = Server::start(path, CHANGE[2]);
    let last = server.book("last", "Ann").await;
    assert_eq!(last.status, 201);
    server.kill();
    after_two_days(path);
    let server = Server::start(path, CHANGE[3]);
    assert!(server.book("last", "Ann").await.is_replayed());
    server.kill();

    // The old secret alone finds nothing any more.
    let error = refused(path, CHANGE[0]);
    assert!(error.contains("it is not the secret"), "{error}");
    let show = show("last");
    let show: Vec<&str> = show.iter().map(String::as_str).collect();
    assert_undone(&run(path, &show, ""), "it is not the secret");
    // Nor does a third one, together with it.
    fs::write(path.join("third"), "6e".repeat(32)).unwrap();
    let error = refused(path, &["--next-secret-file", "third"]);
    assert!(error.contains("it is not the secret"), "{error}");
}

/// As if the former secrets had last been used two days and two minutes ago.
fn after_two_days(directory: &Path) {
    let database = Connection::open(directory.join("core-api.db")).unwrap();
    let back = "update core_api_former_secrets set used_until = used_until - 2 * (24 * 3600 + 60)";
    assert_eq!(database.execute(back, ()).unwrap(), 1);
}

// proves: secret-rotation-loses-no-key
#[tokio::test]
async fn a_start_that_would_not_find_the_keys_of_a_former_secret_is_refused_until_they_are_gone() {
    let directory = tempdir().unwrap();
    let path = directory.path();
    for (file, digits) in [("new", "5e"), ("third", "6e")] {
        fs::write(path.join(file), digits.repeat(32)).unwrap();
    }
    let server = Server::start(path, CHANGE[0]);
    let first = server.book("k", "Ann").await;
    server.kill();
    for options in &CHANGE[1..3] {
        Server::start(path, options).kill();
    }
    let third = ["--secret-file", "new", "--previous-secret-file", "third"];
    let next = ["--secret-file", "new", "--next-secret-file", "third"];
    let none = ["--secret-file", "new", "--previous-secret-file", "none"];
    for (options, named) in [
        (CHANGE[3], "--secret-file new: until 2"),
        (&third, "--previous-secret-file third: until 2"),
        (&next, "--next-secret-file third: until 2"),
        (&none, "--previous-secret-file none: until 2"),
    ] {
        let error = refused(path, options);
        assert!(error.contains(named), "{options:?}: {error}");
        assert!(error.contains("name its file by --previous-secret-file"));
        let show = [&["list"], options].concat();
        assert_undone(&run(path, &show, ""), named);
    }
    let server = Server::start(path, CHANGE[2]);
    let retry = server.book("k", "Ann").await;
    assert_eq!((retry.is_replayed(), &retry.body), (true, &first.body));
    server.kill();
    after_two_days(path);
    for options in [CHANGE[3], &next] {
        Server::start(path, options).kill();
    }
}

// proves: secret-rotation-loses-no-key
#[tokio::test]
async fn without_keys_no_former_secret_counts() {
    let directory = tempdir().unwrap();
    let path = directory.path();
    fs::write(path.join("new"), "5e".repeat(32)).unwrap();
    let server = Server::start(path, CHANGE[0]);
    assert_eq!(server.book("k", "Ann").await.status, 201);
    server.kill();
    for options in &CHANGE[1..3] {
        Server::start(path, options).kill();
    }
    let database = Connection::open(path.join("core-api.db")).unwrap();
    database
        .execute("delete from idempotency_records", ())
        .unwrap();
    drop(database);
    // The second start has a key, and is not refused either.
    for key in ["l", "m"] {
        let server = Server::start(path, CHANGE[3]);
        assert_eq!(server.book(key, "Ann").await.status, 201);
        server.kill();
    }
}

// proves: secret-rotation-loses-no-key
#[tokio::test]
async fn a_secret_that_is_not_changed_or_not_there_is_refused_by_its_option() {
    let directory = tempdir().unwrap();
    let path = directory.path();
    let server = Server::start(path, &[]);
    assert_eq!(server.book("k", "Ann").await.status, 201);
    server.kill();
    let missing = refused(path, &["--next-secret-file", "new"]);
    assert!(
        missing.contains("--next-secret-file new: there is no such file"),
        "{missing}"
    );
    fs::write(path.join("new"), "5e".repeat(32)).unwrap();
    let same = refused(path, &["--next-secret-file", OLD]);
    assert!(same.contains("the same secret"), "{same}");
    for (options, why) in [
        (&["--secret-file", "new"][..], "it is not the secret"),
        (
            &["--secret-file", "new", "--previous-secret-file", "none"],
            "it is not the secret",
        ),
    ] {
        let error = refused(path, options);
        assert!(error.contains(why), "{options:?}: {error}");
    }
    let server = Server::start(path, &[]);
    assert!(server.book("k", "Ann").await.is_replayed());
}
