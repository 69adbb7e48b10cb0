//! The file of the tokens: what is refused, and what a change does while the service runs.

use std::{fs, path::Path};

use tempfile::tempdir;

use crate::{
    server::{Server, command},
    tokens::{Tokens, book, get},
};

/// Makes the service read the file again, and waits until it logs this many tokens.
pub(crate) async fn read_again(server: &Server, tokens: usize) {
    server.hang_up();
    server
        .wait_for_log(&format!("was read again\",\"tokens\":{tokens},"))
        .await;
}

/// The program's error for this file. Asserts that the program has not started.
fn refused(directory: &Path, text: &str) -> String {
    fs::write(directory.join("tokens"), text).unwrap();
    refused_with(directory, &["--tokens", "tokens"])
}

pub(crate) fn refused_with(directory: &Path, arguments: &[&str]) -> String {
    let output = command(directory)
        .args(["--listen", "127.0.0.1:0"])
        .args(arguments)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

// proves: token-file-read-again
#[tokio::test]
async fn a_change_of_the_file_takes_effect_by_itself() {
    let tokens = Tokens::new();
    let ann = tokens.add(&["ann"]);
    let server = tokens.start(&[]);
    let bob = tokens.add(&["bob"]);
    server.wait_for_log("was read again\",\"tokens\":2,").await;
    assert_eq!(get(&server, &bob, "/bookings").await.status, 200);
    // In place, and with the same length.
    let text = fs::read_to_string(tokens.file()).unwrap();
    fs::write(
        tokens.file(),
        text.replace("subject=bob role=caller", "subject=ann role=viewer"),
    )
    .unwrap();
    server.wait_for_log("\"tokens\":2,\"subjects\":1,").await;
    assert_eq!(book(&server, &bob, "k").await.status, 403);
    assert_eq!(book(&server, &ann, "k").await.status, 201);
}

// proves: token-file-read-again, token-file-strict
#[tokio::test]
async fn a_version_with_a_mistake_is_reported_and_the_one_before_stays_valid() {
    let tokens = Tokens::new();
    let ann = tokens.add(&["ann"]);
    let server = tokens.start(&[]);
    let good = fs::read_to_string(tokens.file()).unwrap();
    for (bad, why) in [
        (format!("{good}subject=bob\n"), "line 2: sha256 is missing"),
        (
            good.trim_end().to_owned(),
            "line 1: the file must end with a line break",
        ),
        (
            format!("{good}{good}"),
            "line 2: the same token as in line 1",
        ),
    ] {
        fs::write(tokens.file(), bad).unwrap();
        server.hang_up();
        server.wait_for_log(why).await;
        assert_eq!(get(&server, &ann, "/bookings").await.status, 200);
    }
    fs::remove_file(tokens.file()).unwrap();
    server.hang_up();
    server.wait_for_log("No such file").await;
    assert_eq!(get(&server, &ann, "/bookings").await.status, 200);
    // One mistake takes not all services out of rotation, and is said.
    let ready = server.get("/readyz").await;
    let stale = serde_json::json!({"status": "ready", "tokens": "stale"});
    assert_eq!((ready.status.as_u16(), ready.json()), (200, stale));

    fs::write(tokens.file(), "# Everybody was let go.\n").unwrap();
    read_again(&server, 0).await;
    assert_eq!(get(&server, &ann, "/bookings").await.status, 401);
    fs::write(tokens.file(), good).unwrap();
    read_again(&server, 1).await;
    assert_eq!(get(&server, &ann, "/bookings").await.status, 200);
    assert!(server.get("/readyz").await.json().get("tokens").is_none());
}

// proves: token-file-strict
#[test]
fn a_file_that_cannot_be_used_ends_the_start_and_its_line_is_named() {
    let directory = tempdir().unwrap();
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let good = format!("sha256={digest} subject=ann role=caller\n");
    let cases = [
        (
            format!("{good}sha256={digest} subject=bob role=viewer\n"),
            2,
            "the same token as in line 1",
        ),
        (
            good.replace(digest, &digest.to_uppercase()) + &good,
            2,
            "the same token as in line 1",
        ),
        (
            good.replace("caller", "admin"),
            1,
            "the role must be viewer, caller or operator",
        ),
        (
            good.replace("caller", "Caller"),
            1,
            "the role must be viewer, caller or operator",
        ),
        (good.replace("ann", ""), 1, "a subject must not be empty"),
        (good.replace("ann", "Ann\u{e9}"), 1, "visible ASCII"),
        (good.replace("ann", &"a".repeat(129)), 1, "1 to 128"),
        (good.replace("role", "rôle"), 1, "field 3 is not sha256="),
        (
            good.replace('\n', " scope=all\n"),
            1,
            "field 4 is not sha256=",
        ),
        (
            good.replace('\n', " role=caller\n"),
            1,
            "role is given twice",
        ),
        (
            good.replace('\n', " expires=soon\n"),
            1,
            "such as 2027-01-31T12:00:00Z",
        ),
        (
            format!("\n# A token\n{}", good.replace("subject=ann ", "")),
            3,
            "subject is missing",
        ),
        (good.replace(" role=caller", ""), 1, "role is missing"),
        (
            good.replace(digest, &digest[1..]),
            1,
            "64 hexadecimal digits, and not the token",
        ),
        (String::new(), 0, "it is empty"),
        (
            "core_api_secret-that-nobody-may-see\n".to_owned(),
            1,
            "field 1 is not sha256=",
        ),
        (
            format!("{good}{}", good.trim_end()),
            2,
            "end with a line break",
        ),
    ];
    for (text, line, why) in cases {
        let error = refused(directory.path(), &text);
        let start = match line {
            0 => "core-api: --tokens tokens: ".to_owned(),
            _ => format!("core-api: --tokens tokens: line {line}: "),
        };
        assert!(
            error.starts_with(&start) && error.contains(why),
            "{text}: {error}"
        );
        assert!(
            !error.contains(digest) && !error.contains("nobody"),
            "{error}"
        );
    }
    let path = |name: &str| refused_with(directory.path(), &["--tokens", name]);
    assert!(path("missing").starts_with("core-api: --tokens missing: No such file"));
    assert!(path(".").starts_with("core-api: --tokens .: it is not a file"));
    assert!(path("/dev/null").starts_with("core-api: --tokens /dev/null: it is not a file"));
    assert!(!directory.path().join("core-api.db").exists());
    let output = command(directory.path())
        .env("CORE_API_TOKENS", "")
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(2),
        "an empty variable does not open the service"
    );
}
