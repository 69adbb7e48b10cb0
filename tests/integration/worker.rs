//! A worker without HTTP that is killed around its commit, and receives its message again.

use std::{path::Path, process::Command};

/// What a worker prints at its end, or `None` if it died.
fn work(file: &Path, mode: &str, point: &str) -> Option<String> {
    let worker = Command::new(env!("CARGO_BIN_EXE_invoice-worker"))
        .arg(file)
        .args([mode, point])
        .output();
    let worker = worker.expect("the worker runs");
    let said = String::from_utf8(worker.stdout).expect("text");
    let errors = String::from_utf8_lossy(&worker.stderr);
    match worker.status.code() {
        Some(0) => Some(said.trim().to_owned()),
        None if said.is_empty() => None,
        code => panic!("{code:?}: {said}{errors}"),
    }
}

// proves: dead-owner-taken-over, rows-and-key-commit-together, failure-after-effect-reruns
// proves: unknown-commit-applied-twice
#[test]
fn a_worker_that_is_killed_around_its_commit_makes_one_invoice() {
    for mode in ["transactional", "leased"] {
        for (point, then) in [
            ("before the commit", "Executed(1), invoices: 1"),
            ("within the commit", "Executed(1), invoices: 1"),
            ("after the commit", "Replayed(1), invoices: 1"),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            let file = folder.path().join("invoices.db");
            assert_eq!(work(&file, mode, point), None, "{mode}, {point}");
            let again = work(&file, mode, "nowhere");
            assert_eq!(again.as_deref(), Some(then), "{mode}, {point}");
            let once_more = work(&file, mode, "nowhere");
            let replayed = Some("Replayed(1), invoices: 1");
            assert_eq!(once_more.as_deref(), replayed, "{mode}, {point}");
        }
    }
}
