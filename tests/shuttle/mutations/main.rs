//! Makes one fault after another in a copy of the source, and requires that a test of the schedules or of the model finds it.
//!
//! `cargo test -p shuttled --test mutations`, with a part of a name for some of them only. Each builds the library once more, so this is a
//! stage of its own, `.ci/run mutations`, and not among the tests of `tests/run`.

mod copied;
mod fault;
mod program;
mod table;

use std::{
    collections::BTreeSet,
    fs,
    sync::{LazyLock, Mutex, PoisonError},
};

use copied::{Copied, SOURCE, root};
use fault::{Fault, Finder};
use table::FAULTS;

/// For one build at a time. While one test runs what it has built, the next one builds.
static COPIED: LazyLock<Mutex<Copied>> =
    LazyLock::new(|| Mutex::new(Copied::new().expect("a copy of the workspace")));

/// Requires that the test which has to find the fault fails with it. If it passes, says which other tests fail.
fn assert_found(name: &str) {
    let mut faults = FAULTS.iter();
    let fault = faults.find(|fault| fault.name == name).expect("a fault");
    let finder = fault.found_by;
    let program = {
        let copied = COPIED.lock().unwrap_or_else(PoisonError::into_inner);
        copied.build_with(fault, finder.program())
    };
    let program = program.expect("a program with the fault");
    let failures = program.failures(&[finder.test()]).expect("a run");
    if failures != [finder.test()] {
        panic!("not found by {}, but by {:?}", finder.test(), all(fault));
    }
}

/// All tests that find the fault.
fn all(fault: &Fault) -> Vec<String> {
    let mut found = Vec::new();
    for name in ["schedules", "model"] {
        let program = {
            let copied = COPIED.lock().unwrap_or_else(PoisonError::into_inner);
            copied.build_with(fault, name).expect("a program")
        };
        found.extend(program.failures(&[]).expect("a run"));
    }
    found
}

/// Otherwise they would find anything.
#[test]
fn without_a_fault_nothing_is_found() {
    for program in ["schedules", "model"] {
        let finders = FAULTS.iter().map(|fault| fault.found_by);
        let finders = finders.filter(|finder| finder.program() == program);
        let tests: BTreeSet<_> = finders.map(Finder::test).collect();
        let tests: Vec<_> = tests.into_iter().collect();
        let built = {
            let copied = COPIED.lock().unwrap_or_else(PoisonError::into_inner);
            copied.build(program).expect("a program")
        };
        let failures = built.failures(&tests).expect("a run");
        assert!(failures.is_empty(), "{failures:?}");
    }
}

/// A source that changes takes its fault along.
// proves: schedules-find-mistakes
#[test]
fn each_fault_has_its_place_in_the_source() {
    for fault in FAULTS {
        let source = fs::read_to_string(root().join(SOURCE).join(fault.file));
        let source = source.expect("a source file");
        assert_eq!(source.matches(fault.find).count(), 1, "{}", fault.name);
    }
    assert!(FAULTS.len() >= 12);
}

// proves: schedules-find-mistakes
#[test]
fn the_readme_has_each_fault_and_the_test_that_finds_it() {
    let readme = root().join("tests/shuttle/README.md");
    let readme = fs::read_to_string(readme).expect("a page");
    let rows = readme
        .lines()
        .skip_while(|line| *line != "| Fault | Found by |");
    let rows = rows.skip(2).take_while(|line| line.starts_with("| "));
    let rows: Vec<_> = rows.collect();
    let expected: Vec<_> = FAULTS.iter().map(row).collect();
    assert_eq!(rows, expected, "{}", expected.join("\n"));
}

fn row(fault: &Fault) -> String {
    let found_by = match fault.found_by {
        Finder::Schedules(test) => format!("`{test}`"),
        Finder::Model(test) => format!("`{test}`, of the model"),
    };
    format!("| {} | {found_by} |", fault.name.replace('_', " "))
}
