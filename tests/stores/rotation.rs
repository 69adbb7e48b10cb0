//! `core-api` changes its secret in three deployments, while services of two neighbouring ones serve the same keys.

use std::{fs, path::Path, process::Command};

use reqwest::StatusCode;
use tempfile::TempDir;
use tests::{reply::Reply, servers::redis::RedisServer};
use tokio::task::JoinSet;

use crate::service::{Service, places};

/// The options of each deployment, from the one before the change to the last one.
type Deployments = [Vec<String>; 4];

/// The files of an old and of a new secret.
fn secrets() -> (TempDir, [String; 2]) {
    let folder = tempfile::tempdir().expect("a folder");
    let files = ["old", "new"].map(|name| {
        let file = folder.path().join(name);
        fs::write(&file, format!("{name}-secret-of-32-bytes-or-more-{name}\n")).expect("a file");
        file.to_str().expect("UTF-8").to_owned()
    });
    (folder, files)
}

fn options(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn change(old: &str, new: &str) -> Deployments {
    [
        options(&["--secret-file", old]),
        options(&["--secret-file", old, "--next-secret-file", new]),
        options(&["--secret-file", new, "--previous-secret-file", old]),
        options(&["--secret-file", new]),
    ]
}

fn introduction(new: &str) -> Deployments {
    [
        options(&[]),
        options(&["--next-secret-file", new]),
        options(&["--secret-file", new, "--previous-secret-file", "none"]),
        options(&["--secret-file", new]),
    ]
}

fn start(place: &[String], deployment: &[String]) -> Service {
    let options: Vec<&str> = place.iter().chain(deployment).map(String::as_str).collect();
    Service::start(&options)
}

/// Sends twenty equal requests to both, and returns the response of the one that ran.
async fn run_once(services: [&Service; 2], key: &str) -> Reply {
    let mut requests = JoinSet::new();
    for number in 0..20 {
        let patience = if number % 4 < 2 { "wait=10" } else { "wait=0" };
        let booking = services[number % 2].booking(key);
        requests.spawn(Reply::to(booking.header("Prefer", patience)));
    }
    let replies = requests.join_all().await;
    let is_first = |reply: &&Reply| reply.status == StatusCode::CREATED && !reply.is_replay();
    let first: Vec<_> = replies.iter().filter(is_first).cloned().collect();
    let [first] = <[Reply; 1]>::try_from(first).unwrap_or_else(|_| panic!("{key}: {replies:?}"));
    for reply in &replies {
        match reply.status {
            StatusCode::CREATED => assert_eq!(reply.body, first.body),
            StatusCode::CONFLICT => assert!(!reply.is_replay()),
            _ => panic!("201 or 409, and not {reply:?}"),
        }
    }
    first
}

async fn assert_replayed(service: &Service, key: &str, first: &Reply) {
    let retry = Reply::to(service.booking(key)).await;
    assert!(retry.is_replay(), "{key}: {retry:?}");
    assert_eq!(retry.body, first.body);
}

// proves: secret-rotation-runs-once, secret-rotation-loses-no-key
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn equal_requests_to_services_of_neighbouring_deployments_run_once_and_are_replayed() {
    let (_folder, [old, new]) = secrets();
    for deployments in [change(&old, &new), introduction(&new)] {
        for (place, _server) in places().await {
            let mut made: Vec<(String, Reply)> = Vec::new();
            let mut older = start(&place, &deployments[0]);
            let before = Reply::to(older.booking("before")).await;
            made.push(("before".into(), before));
            for (number, deployment) in deployments.iter().enumerate().skip(1) {
                // The third begins when what services of the first have stored is expired.
                if number == 3 {
                    let second = Reply::to(older.booking("second")).await;
                    made = vec![("second".into(), second)];
                }
                let newer = start(&place, deployment);
                for (key, first) in &made {
                    assert_replayed(&newer, key, first).await;
                    assert_replayed(&older, key, first).await;
                }
                let key = number.to_string();
                let first = run_once([&older, &newer], &key).await;
                assert_replayed(&newer, &key, &first).await;
                assert_replayed(&older, &key, &first).await;
                made.push((key, first));
                older = newer;
            }
        }
    }
}

fn command(place: &[String], deployment: &[String], words: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_core-api-under-test"))
        .arg("keys")
        .args(words)
        .args(place)
        .args(deployment)
        .output()
        .expect("the command runs");
    assert!(output.status.success(), "{words:?}: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

// proves: key-state-shown, secret-rotation-loses-no-key
#[tokio::test(flavor = "multi_thread")]
async fn an_operator_finds_and_reads_keys_of_both_secrets() {
    let (_folder, [old, new]) = secrets();
    let deployments = change(&old, &new);
    for (place, _server) in places().await {
        let first = start(&place, &deployments[1]);
        let of_old = Reply::to(first.booking("old")).await;
        let second = start(&place, &deployments[2]);
        let of_new = Reply::to(second.booking("new")).await;
        for deployment in &deployments[1..3] {
            for (key, reply) in [("old", &of_old), ("new", &of_new)] {
                let key = format!("{key}{}", tests::core_api::UNSEEN);
                let words = ["show", "--json", "--body", "--key", &key];
                let shown = command(&place, deployment, &words);
                let body = serde_json::from_str::<serde_json::Value>(&shown).expect("JSON");
                let body = body["response"]["body"]
                    .as_str()
                    .expect("a body")
                    .to_owned();
                assert_eq!(body.as_bytes(), &reply.body[..]);
            }
            let list = command(&place, deployment, &["list", "--json"]);
            assert_eq!(list.lines().count(), 2, "{list}");
            assert!(!list.contains("error"), "{list}");
        }
    }
}

/// The error of a start with these options.
fn refused(folder: &Path, options: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_core-api-under-test"))
        .current_dir(folder)
        .args(["--listen", "127.0.0.1:0"])
        .args(options)
        .output()
        .expect("the service runs");
    assert!(!output.status.success(), "{options:?}");
    String::from_utf8(output.stderr).expect("UTF-8")
}

// proves: secret-rotation-loses-no-key
#[tokio::test(flavor = "multi_thread")]
async fn options_that_change_nothing_are_refused_by_their_names() {
    let (folder, [old, new]) = secrets();
    let Some(server) = RedisServer::shared() else {
        return;
    };
    let url = server.url();
    let place = ["--database", "memory:", "--idempotency-store", &url];
    let missing = folder.path().join("missing");
    let missing = missing.to_str().expect("UTF-8");
    for (options, why) in [
        (
            &["--secret-file", &*old, "--next-secret-file", &*old][..],
            "--next-secret-file",
        ),
        (
            &["--secret-file", &*old, "--previous-secret-file", &*old],
            "has the same secret as --secret-file",
        ),
        (&["--previous-secret-file", &*old], "it needs --secret-file"),
        (
            &["--previous-secret-file", "none"],
            "it needs --secret-file",
        ),
        (
            &["--secret-file", &*old, "--next-secret-file", missing],
            "missing: there is no such file",
        ),
        (
            &["--next-secret-file", &*new, "--previous-secret-file", &*old],
            "cannot be used with",
        ),
    ] {
        let said = refused(folder.path(), &[&place[..], options].concat());
        assert!(said.contains(why), "{options:?}: {said}");
    }
    let said = refused(
        folder.path(),
        &["--database", "memory:", "--next-secret-file", &new],
    );
    assert!(
        said.contains("keys in memory are lost when the process ends"),
        "{said}"
    );
}
