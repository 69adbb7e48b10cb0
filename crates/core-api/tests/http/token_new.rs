//! `core-api token new`.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::{Output, Stdio},
    thread,
};

use tempfile::tempdir;

use crate::{
    server::{Server, command},
    tokens::{Tokens, get},
};

fn run(directory: &Path, arguments: &[&str]) -> Output {
    command(directory)
        .args(["token", "new"])
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

// proves: new-token-shown-once
#[tokio::test]
async fn a_new_token_is_printed_once_and_only_its_digest_is_stored() {
    let tokens = Tokens::new();
    let made = run(tokens.directory.path(), &["ann", "--tokens", "tokens"]);
    assert!(made.status.success(), "{made:?}");
    let (token, said) = (text(made.stdout), text(made.stderr));
    assert_eq!(token.lines().count(), 1);
    let token = token.trim_end();
    let digits = token.strip_prefix("core_api_").unwrap();
    assert!(digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
    let file = fs::read_to_string(tokens.file()).unwrap();
    assert!(
        !file.contains(digits) && !said.contains(digits),
        "{file}{said}"
    );
    assert!(file.starts_with("sha256=") && file.ends_with(" subject=ann role=caller\n"));
    let mode = fs::metadata(tokens.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let server = tokens.start(&[]);
    assert_eq!(get(&server, token, "/bookings").await.status, 200);
    drop(server);

    // Without a file, the operator has to add the line.
    let made = run(tokens.directory.path(), &["bob", "--role", "viewer"]);
    let (token, line) = (text(made.stdout), text(made.stderr));
    assert!(line.ends_with(" subject=bob role=viewer\n"), "{line}");
    assert_eq!(fs::read_to_string(tokens.file()).unwrap(), file);
    fs::write(tokens.file(), format!("{file}{line}")).unwrap();
    let variable = [("CORE_API_TOKENS", "tokens")];
    let server = Server::start_with(tokens.directory.path(), &[], &variable);
    assert_eq!(
        get(&server, token.trim_end(), "/bookings").await.status,
        200
    );
    let made = command(tokens.directory.path())
        .args(["token", "new", "cid"])
        .envs(variable)
        .output()
        .unwrap();
    assert!(made.status.success());
    assert!(
        fs::read_to_string(tokens.file())
            .unwrap()
            .contains("subject=cid")
    );
}

// proves: new-token-shown-once
#[test]
fn what_cannot_be_added_is_refused_and_the_file_stays() {
    let directory = tempdir().unwrap();
    let file = directory.path().join("tokens");
    for (arguments, code, why) in [
        (&[""][..], 2, "a subject must not be empty"),
        (&["Ann Lee"], 2, "without spaces"),
        (&["ann\nsubject=bob"], 2, "without spaces"),
        (&["ann", "--role", "admin"], 2, "viewer, caller, operator"),
        (&["ann", "--expires", "soon"], 2, "such as 2027-01-31"),
        // In UTC it is the year 10000.
        (
            &["ann", "--expires", "9999-12-31T23:59:59-01:00"],
            2,
            "0000 to 9999",
        ),
        (
            &["ann", "--tokens", "missing/tokens"],
            1,
            "--tokens missing/tokens: No such file",
        ),
        (&["ann", "--tokens", "."], 1, "--tokens .: it is not a file"),
        (&[], 2, "SUBJECT"),
    ] {
        let refused = run(directory.path(), arguments);
        assert_eq!(refused.status.code(), Some(code), "{arguments:?}");
        assert!(refused.stdout.is_empty(), "{arguments:?}");
        let error = text(refused.stderr);
        assert!(error.contains(why), "{arguments:?}: {error}");
    }
    assert_eq!(directory.path().read_dir().unwrap().count(), 0);
    for bad in ["subject=ann\n", "# Cut o"] {
        fs::write(&file, bad).unwrap();
        let refused = run(directory.path(), &["ann", "--tokens", "tokens"]);
        assert_eq!(refused.status.code(), Some(1));
        let error = text(refused.stderr);
        assert!(
            error.starts_with("core-api: --tokens tokens: line 1: "),
            "{error}"
        );
        assert!(refused.stdout.is_empty());
        assert_eq!(fs::read_to_string(&file).unwrap(), bad);
    }
    // The line fits no more, so a service would not start with the file.
    let full = format!("#{}\n", " ".repeat((4 << 20) - 20));
    fs::write(&file, &full).unwrap();
    let refused = run(directory.path(), &["ann", "--tokens", "tokens"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stdout.is_empty());
    assert!(text(refused.stderr).contains("it has more than"));
    assert!(fs::read_to_string(&file).unwrap() == full);
    assert_eq!(directory.path().read_dir().unwrap().count(), 1);
    let both = command(directory.path())
        .args(["--database", "memory:", "token", "new", "ann"])
        .output()
        .unwrap();
    assert_eq!(both.status.code(), Some(2));
}

// proves: new-token-shown-once
#[test]
fn tokens_that_are_made_at_once_are_all_there() {
    let directory = tempdir().unwrap();
    thread::scope(|scope| {
        for number in 0..12 {
            let subject = format!("subject-{number}");
            let path = directory.path();
            scope.spawn(move || {
                let made = run(path, &[&subject, "--tokens", "tokens"]);
                assert!(made.status.success(), "{made:?}");
            });
        }
    });
    let file = fs::read_to_string(directory.path().join("tokens")).unwrap();
    assert_eq!(file.lines().count(), 12);
    for number in 0..12 {
        assert!(
            file.contains(&format!(" subject=subject-{number} ")),
            "{file}"
        );
    }
    assert_eq!(directory.path().read_dir().unwrap().count(), 1);
}

/// Whenever it is killed, every line is whole, and each printed token is accepted.
// proves: new-token-shown-once
#[test]
fn a_command_that_is_killed_leaves_the_file_whole() {
    let directory = tempdir().unwrap();
    let file = directory.path().join("tokens");
    let mut lines = 0;
    for number in 0..40_u64 {
        let mut child = command(directory.path())
            .args(["token", "new", "ann", "--tokens", "tokens"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Each child gets some more iterations than the one before.
        for _ in 0..number * number {
            thread::yield_now();
        }
        // It may have ended.
        drop(child.kill());
        let output = child.wait_with_output().unwrap();
        let text = fs::read_to_string(&file).unwrap_or_default();
        assert!(
            text.is_empty() || text.ends_with(" subject=ann role=caller\n"),
            "{text:?}"
        );
        let found = text.lines().count();
        assert!(found == lines || found == lines + 1);
        assert!(output.stdout.is_empty() || found == lines + 1);
        lines = found;
    }
    // The remains of killed processes block no other process.
    let made = run(directory.path(), &["ann", "--tokens", "tokens"]);
    assert!(made.status.success(), "{made:?}");
    assert_eq!(
        fs::read_to_string(&file).unwrap().lines().count(),
        lines + 1
    );
    assert_eq!(directory.path().read_dir().unwrap().count(), 1);
}

#[test]
fn a_file_keeps_its_mode_and_its_link() {
    let directory = tempdir().unwrap();
    let target = directory.path().join("target");
    fs::write(&target, "# Subjects\n").unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("target", directory.path().join("tokens")).unwrap();
    assert!(
        run(directory.path(), &["ann", "--tokens", "tokens"])
            .status
            .success()
    );
    let link = fs::symlink_metadata(directory.path().join("tokens")).unwrap();
    assert!(link.is_symlink());
    let text = fs::read_to_string(&target).unwrap();
    assert!(text.starts_with("# Subjects\nsha256="), "{text}");
    let mode = fs::metadata(&target).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}
